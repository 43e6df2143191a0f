; covers: STI, CLI, exceptions.interrupt_shadow
; expects: a pending interrupt waits one instruction after STI that sets IF, none after POPF or IRET.
%include "prelude.inc"

        GO_LONG
        mov     ebx, 0xfee00000
        or      dword [rbx + 0xf0], 0x100
        mov     [in_rbx], rbx
%macro PENDING 0
        mov     dword [rbx + 0xb0], 0
        mov     dword [rbx + 0x300], 0x44050    ; fixed vector 0x50 to self
%endmacro
%macro TAKEN_AT 1
        EXPECT  0x50, NOERR, %1
        mov     dword [rbx + 0xb0], 0
%endmacro
        PENDING
        TRY     L64_0
        sti
        nop
a:      nop
        END
        TAKEN_AT a
        PENDING
        TRY     L64_0
        sti
        cli                                     ; never a window
        nop
        END
        EXPECT_OK
        TRY     L64_0                           ; still pending
        sti
        sti                                     ; the second does not extend the shadow
b:      nop
        nop
        END
        TAKEN_AT b                              ; qemu-deviates: a second STI extends the shadow
        PENDING
        TRY     L64_0
        push    FL_IF
        popfq
c:      nop
        nop
        END
        TAKEN_AT c
        PENDING
        SET_FLAGS FL_IF
        TRY     L64_0                           ; IRET into the snippet opens the window at once
d:      nop
        nop
        END
        TAKEN_AT d
        PENDING
        SET_FLAGS FL_IF
        TRY     L64_3
e:      nop
        END
        TAKEN_AT e
        CHECK_EQ32 [out_cs], UCODE64
        EXPECT_FLAG FL_IF, FL_IF
        PENDING
        TRY     L64_0
        sti
        hlt                                     ; in the shadow, woken at once
f:      nop
        END
        TAKEN_AT f
        ; A fault in the shadow is served first; the interrupt stays pending.
        PENDING
        TRY     L64_0
        sti
        AT
        ud2
        END
        EXPECT  UD, NOERR
        TRY     C32_0
        sti
        nop
g:      nop
        END
        TAKEN_AT g
        ; MOV SS with IF set: the debug trap of TF shows its shadow.
        SET_FLAGS FL_TF
        TRY     L64_0
        mov     eax, ss
h:      mov     ss, eax
        nop
        END
        EXPECT  DB_, NOERR, h
        mov     qword [in_rax], DATA64
        SET_FLAGS FL_TF
        TRY     L64_0
        mov     ss, eax
        nop
i:      nop
        END
        EXPECT  DB_, NOERR, i                   ; qemu-deviates: traps right after MOV SS
        SET_FLAGS FL_TF
        TRY     C32_0
        mov     ss, eax
        nop
j:      nop
        END
        EXPECT  DB_, NOERR, j                   ; qemu-deviates: traps right after MOV SS
        GO_LONG
        SET_FLAGS FL_TF
        TRY     L64_0                           ; STI shadows interrupts, not the single-step trap
        sti
k:      nop
        END
        EXPECT  DB_, NOERR, k                   ; qemu-deviates: STI delays the trap
        TEST_END
