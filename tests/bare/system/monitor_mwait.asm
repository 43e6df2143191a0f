; covers: MONITOR, MWAIT, HLT
; expects: MONITOR and MWAIT are #UD outside ring 0, refuse unknown hints and bad addresses; HLT wakes by an interrupt.
%include "prelude.inc"

        GO_LONG
        ; HLT with a pending interrupt resumes after it.
        mov     ebx, 0xfee00000
        or      dword [rbx + 0xf0], 0x100
        SET_GATE64 0x50, CODE64, handler, A_INT
        mov     dword [rbx + 0x300], 0x44050
        sti
        hlt
        cli
        CHECK_EQ32 [count], 1
        TRY     L64_3
        hlt
        END
        EXPECT  GP, 0
        NEED_OR F_MONITOR, 'monitor', done64
        mov     qword [in_rax], SCRATCH
        mov     qword [in_rcx], 0
        mov     qword [in_rdx], 0
        TRY     L64_0
        monitor
        END
        EXPECT_OK
        TRY     L64_3
        monitor
        END
        EXPECT  UD, NOERR                       ; qemu-deviates: allowed
        TRY     L64_3
        mwait
        END
        EXPECT  UD, NOERR                       ; qemu-deviates: #GP
        mov     qword [in_rcx], 1
        TRY     L64_0
        monitor
        END
        EXPECT  GP, 0
        mov     qword [in_rcx], 4
        TRY     L64_0
        mwait
        END
        EXPECT  GP, 0
        mov     qword [in_rcx], 0
        mov     rax, 0x0000800000000000
        mov     [in_rax], rax
        TRY     L64_0
        monitor
        END
        EXPECT  GP, 0                           ; qemu-deviates: address not checked
        jmp     done64
handler:
        inc     dword [count]
        mov     dword [rbx + 0xb0], 0
        iretq
count:  dd      0
done64: TEST_END
