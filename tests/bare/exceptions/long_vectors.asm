; covers: UD0, UD1, UD2, exceptions.vectors, exceptions.noncanonical, exceptions.rf, DIV, INT3
; expects: each fault of 64-bit code carries its vector, error code and the address of the faulting instruction.
%include "prelude.inc"

        GO_LONG
%macro BOTH 3-*                 ; vector, error code, instruction: in ring 0 and ring 3
        TRY     L64_0
        %{3:-1}
        END
        EXPECT  %1, %2
        EXPECT_FLAG FL_RF, FL_RF        ; qemu-deviates: RF is not set by faults
        TRY     L64_3
        %{3:-1}
        END
        EXPECT  %1, %2
%endmacro
        mov     qword [in_rbx], 0
        BOTH    DE, NOERR, div ebx
        BOTH    UD, NOERR, ud2
        BOTH    UD, NOERR, db 0x0f, 0xff, 0xc0
        BOTH    UD, NOERR, db 0x0f, 0xb9, 0xc0
        BOTH    UD, NOERR, db 0xf0, 0x90        ; qemu-deviates: LOCK NOP is accepted
        BOTH    UD, NOERR, db 0x06
        BOTH    UD, NOERR, db 0x27
        BOTH    UD, NOERR, db 0x60
        BOTH    UD, NOERR, db 0x62, 0x00, 0, 0, 0, 0
        BOTH    UD, NOERR, db 0x82, 0xc0, 0
        BOTH    UD, NOERR, db 0xd5, 0x0a
        BOTH    UD, NOERR, db 0x0f, 0x0b
        BOTH    GP, 0, db 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
        ; Quotient overflow, and the most negative number by -1.
        mov     rax, 0x8000000000000000
        mov     [in_rax], rax
        mov     [in_rdx], rax
        mov     qword [in_rbx], -1
        TRY     L64_3
        cqo
        AT
        idiv    rbx
        END
        EXPECT  DE, NOERR
        CHECK_EQ [out_rax], 0x8000000000000000
        mov     qword [in_rbx], 1
        BOTH    DE, NOERR, div rbx
        ; Non-canonical addresses: #GP(0), stack accesses #SS(0).
        mov     rax, 0x0000800000000000
        mov     [in_rbx], rax
        mov     [in_rbp], rax
        BOTH    GP, 0, mov al, [rbx]
        BOTH    GP, 0, mov [rbx], al
        BOTH    SS_, 0, mov al, [rbp]  ; qemu-deviates: #GP for stack accesses
        BOTH    GP, 0, jmp rbx                  ; qemu-deviates: faults at the target
        BOTH    GP, 0, call rbx                 ; qemu-deviates: faults at the target
        BOTH    GP, 0, lock inc qword [rbx]
        BOTH    GP, 0, clflush [rbx]            ; qemu-deviates: no address check
        BOTH    SS_, 0, leave  ; qemu-deviates: #GP for stack accesses
        mov     rax, 0x00007ffffffffffc
        mov     [in_rbx], rax
        BOTH    GP, 0, mov rax, [rbx]           ; qemu-deviates: faults on the first page; the last byte is not canonical
%macro STACK 2-*
        TRY     L64_0
        mov     rsp, 0x0000800000000000
        AT
        %{2:-1}
        END
        EXPECT  SS_, 0
%endmacro
        ; In ring 3 the exception switches stacks, so a wild RSP can be recorded.
%macro WILD 1+
        TRY     L64_3
        mov     rsp, 0x0000900000000000
        AT
        %1
        END
        EXPECT  SS_, 0  ; qemu-deviates: #GP for stack accesses
%endmacro
        WILD    push rax
        WILD    pop rax
        WILD    call LAST_AT
        WILD    ret
        WILD    pushfq
        WILD    popfq
        WILD    enter 8, 0
        ; RET to a non-canonical address: RSP unchanged.
        TRY     L64_3
        mov     rax, 0x0000800000000000
        push    rax
        AT
        ret
        END
        EXPECT  GP, 0                           ; qemu-deviates: faults at the target
        CHECK_EQ32 [out_rsp], SNIP_STACK - 8    ; qemu-deviates: faults at the target
        ; #NM by TS and EM; WAIT needs MP and TS.
        CR      cr0, CR0_TS, CR0_MP
        BOTH    NM, NOERR, fninit
        TRY     L64_3
        wait
        END
        EXPECT_OK
        CR      cr0, CR0_TS | CR0_MP, 0
        BOTH    NM, NOERR, wait
        CR      cr0, CR0_EM, CR0_TS | CR0_MP
        BOTH    NM, NOERR, fninit
        CR      cr0, 0, CR0_EM
        ; #AC only in ring 3 with CR0.AM and EFLAGS.AC.
        CR      cr0, CR0_AM, 0
        mov     qword [in_rbx], SCRATCH + 1
        SET_FLAGS FL_AC
        TRY     L64_3
        mov     eax, [rbx]
        END
        EXPECT  AC, 0                           ; qemu-deviates: no alignment checks
        SET_FLAGS FL_AC
        TRY     L64_0
        mov     eax, [rbx]
        END
        EXPECT_OK
        TRY     L64_3
        mov     eax, [rbx]
        END
        EXPECT_OK
        SET_FLAGS FL_AC
        TRY     L64_3
        mov     al, [rbx]
        END
        EXPECT_OK
        CR      cr0, 0, CR0_AM
        ; Privileged instructions in ring 3.
%macro PRIVILEGED 1+
        TRY     L64_3
        %1
        END
        EXPECT  GP, 0
%endmacro
        PRIVILEGED hlt
        PRIVILEGED cli
        PRIVILEGED sti
        PRIVILEGED clts
        PRIVILEGED invd
        PRIVILEGED wbinvd
        PRIVILEGED mov rax, cr0
        PRIVILEGED mov cr3, rax
        PRIVILEGED mov rax, cr8
        PRIVILEGED mov rax, dr0
        PRIVILEGED mov dr7, rax
        PRIVILEGED rdmsr
        PRIVILEGED wrmsr
        PRIVILEGED lgdt [rbx]
        PRIVILEGED lidt [rbx]
        PRIVILEGED lldt ax
        PRIVILEGED ltr ax
        PRIVILEGED lmsw ax
        PRIVILEGED invlpg [rbx]
        PRIVILEGED swapgs
        PRIVILEGED o64 sysret
        PRIVILEGED in al, 0x80
        PRIVILEGED out dx, al
        TEST_END
