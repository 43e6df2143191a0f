; covers: exceptions.single_step, exceptions.dr6
; expects: TF traps after each instruction with DR6.BS; events that clear TF do not trap; faults win.
%include "prelude.inc"

        GO_LONG
%macro CLEAR_DR6 0
        mov     eax, 0xffff0ff0
        mov     dr6, rax
%endmacro
%macro STEPPED 1
        EXPECT  DB_, NOERR, %1
        mov     rax, dr6
        CHECK_BITS32 eax, 0x400f, 0x4000
        CLEAR_DR6
%endmacro
        CLEAR_DR6
        SET_FLAGS FL_TF
        TRY     L64_0
        nop
a:      nop
        END
        STEPPED a
        EXPECT_FLAG FL_TF | FL_RF, FL_TF
        SET_FLAGS FL_TF
        TRY     L64_3
        xor     eax, eax
b:      nop
        END
        STEPPED b
        SET_FLAGS FL_TF
        TRY     C16_3
        nop
c:      nop
        END
        STEPPED c
        TRY     L64_0                   ; POPF that sets TF: the trap comes after the next instruction
        push    FL_TF
        popfq
        nop
d:      nop
        END
        STEPPED d
        SET_FLAGS FL_TF
        TRY     L64_0                   ; POPF that clears it still traps, with TF clear in the frame
        nop
e:      nop
        END
        STEPPED e
        mov     rax, [in_rbx]
        mov     qword [SNIP_STACK - 8], FL_FIX
        SET_FLAGS FL_TF
        TRY     L64_0
        jmp     f
        nop
f:      nop
        END
        STEPPED f
        ; Every repetition of a string instruction traps; the last with the next address.
        mov     qword [in_rcx], 2
        mov     qword [in_rsi], SCRATCH
        mov     qword [in_rdi], SCRATCH + 16
        SET_FLAGS FL_TF
        TRY     L64_0
        rep movsb
g:      nop
        END
        EXPECT  DB_, NOERR
        CHECK_EQ [out_rcx], 1
        EXPECT_FLAG FL_RF, FL_RF        ; qemu-deviates: RF is not set between repetitions; bochs-deviates: the same
        mov     qword [in_rcx], 1
        SET_FLAGS FL_TF
        TRY     L64_0
        rep movsb
h:      nop
        END
        EXPECT  DB_, NOERR, h
        CHECK_EQ [out_rcx], 0
        CLEAR_DR6
        ; A fault wins; TF stays in the saved flags and DR6.BS is not set.
        SET_FLAGS FL_TF
        TRY     L64_0
        ud2
        END
        EXPECT  UD, NOERR
        EXPECT_FLAG FL_TF, FL_TF
        mov     rax, dr6
        CHECK_BITS32 eax, 0x4000, 0
        ; INT n clears TF on the way and does not trap.
        GATE_DPL 0x40, 3
        SET_FLAGS FL_TF
        TRY     L64_3
        int     0x40
        END
        EXPECT_TRAP 0x40
        EXPECT_FLAG FL_TF, FL_TF
        mov     rax, dr6
        CHECK_BITS32 eax, 0x4000, 0
        ; SYSCALL with TF masked does not trap; the saved flags keep TF.
        WRMSR_  MSR_STAR, 0, (UCODE32 & ~3) << 16 | CODE64
        WRMSR_  MSR_LSTAR, landing
        WRMSR_  MSR_FMASK, FL_TF
        SET_FLAGS FL_TF
        TRY     L64_3
        syscall
        END
        EXPECT  UD, NOERR, landing      ; bochs-deviates: traps by the old TF
        CHECK_BITS32 [out_r11], FL_TF, FL_TF
        WRMSR_  MSR_FMASK, 0
        SET_FLAGS FL_TF
        TRY     L64_3
        syscall
        END
        STEPPED landing
        ; IRET that sets TF: the first instruction of the target runs.
        TRY     L64_0
        mov     ecx, SNIP_STACK
        push    UDATA64
        push    rcx
        push    FL_TF | FL_FIX
        push    UCODE64
        push    target
        iretq
        END
        STEPPED target.next
        ; Reading CPUID, RDMSR and port instructions trap as well.
        SET_FLAGS FL_TF
        TRY     L64_0
        cpuid
i:      nop
        END
        STEPPED i
        mov     qword [in_rdx], 0x80
        SET_FLAGS FL_TF
        TRY     L64_0
        out     dx, al
j:      nop
        END
        STEPPED j
        mov     rax, cr0
        mov     [in_rax], rax
        SET_FLAGS FL_TF
        TRY     L64_0
        mov     cr0, rax
k:      nop
        END
        STEPPED k
        jmp     done64
landing: ud2
target: nop
.next:  nop
done64: GO_LEGACY
        SET_FLAGS FL_TF
        TRY     V86_3
        nop
m:      nop
        END
        EXPECT  DB_, NOERR, m
        SET_FLAGS FL_TF
        TRY     REAL
        nop
n:      nop
        END
        EXPECT  DB_, NOERR, n
        TEST_END
