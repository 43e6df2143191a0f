; covers: exceptions.nmi, apic.nmi_ipi
; expects: an NMI from the local APIC is taken with IF clear, blocks further NMIs until IRET, and one stays pending.
%include "prelude.inc"

        GO_LONG
        mov     ebx, 0xfee00000
        or      dword [rbx + 0xf0], 0x100
        SET_GATE64 NMI, CODE64, handler, A_INT
        call    send
        mov     ecx, 10000
.wait:  pause
        cmp     dword [count], 2
        loopne  .wait
        CHECK_EQ32 [count], 2
        CHECK_EQ32 [inside], 1                  ; the second came only after the IRET of the first
        ; IRET ends the blocking even when it returns to ring 3, and INT 2 does not block.
        mov     dword [count], 1
        int     2
        CHECK_EQ32 [count], 2
        call    send
        mov     ecx, 10000
.more:  pause
        cmp     dword [count], 3
        loopne  .more
        CHECK_EQ32 [count], 3
        jmp     done64
send:   mov     eax, [rbx + 0x20]
        and     eax, 0xff000000
        mov     [rbx + 0x310], eax
        mov     dword [rbx + 0x300], 0x4400     ; NMI, physical destination: this processor
        ret
handler:
        push    rax
        push    rcx
        inc     dword [count]
        cmp     dword [count], 1
        jne     .out
        call    send
        mov     ecx, 1000
.spin:  pause
        loop    .spin
        mov     eax, [count]
        mov     [inside], eax
.out:   pop     rcx
        pop     rax
        iretq
count:  dd      0
inside: dd      0
done64: TEST_END
