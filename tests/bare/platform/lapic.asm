; covers: apic.xapic, apic.self_ipi, apic.tpr, apic.timer, apic.priority, MOV.cr8
; expects: self-IPIs obey priority, TPR and CR8; the timer counts down once or periodically; masked entries stay silent.
%include "prelude.inc"
%include "apic.inc"

        GO_LONG
        APIC_ON
        COUNTER 0x50
        COUNTER 0x60
        COUNTER 0x71
        mov     eax, [rbx + A_VERSION]
        and     eax, 0xf0
        CHECK_EQ32 eax, 0x10
        mov     dword [rbx + A_ICR], 0x40050
        CHECK_BITS32 [rbx + A_IRR + 0x20], 1 << 16, 1 << 16
        WINDOW
        CHECK_EQ32 [COUNT(0x50)], 1
        CHECK_BITS32 [rbx + A_IRR + 0x20], 1 << 16, 0
        CHECK_BITS32 [rbx + A_ISR + 0x20], 1 << 16, 0
        ; Two requests of one vector merge in the IRR.
        mov     dword [rbx + A_ICR], 0x40050
        mov     dword [rbx + A_ICR], 0x40050
        WINDOW
        CHECK_EQ32 [COUNT(0x50)], 2
        ; CR8 is the class of the TPR; equal or lower classes wait.
        mov     eax, 5
        mov     cr8, rax
        CHECK_EQ32 [rbx + A_TPR], 0x50
        mov     dword [rbx + A_ICR], 0x40050
        mov     dword [rbx + A_ICR], 0x40060
        WINDOW
        CHECK_EQ32 [COUNT(0x50)], 2
        CHECK_EQ32 [COUNT(0x60)], 1
        xor     eax, eax
        mov     cr8, rax
        WINDOW
        CHECK_EQ32 [COUNT(0x50)], 3
        mov     dword [rbx + A_TPR], 0x65
        mov     rax, cr8
        CHECK_EQ rax, 6
        mov     dword [rbx + A_ICR], 0x40060
        WINDOW
        CHECK_EQ32 [COUNT(0x60)], 1
        mov     dword [rbx + A_TPR], 0
        WINDOW
        CHECK_EQ32 [COUNT(0x60)], 2
        ; The higher vector first.
        SET_GATE64 0x52, CODE64, note, A_INT
        SET_GATE64 0x93, CODE64, note.other, A_INT
        mov     dword [rbx + A_ICR], 0x40052
        mov     dword [rbx + A_ICR], 0x40093
        WINDOW
        CHECK_EQ32 [order], 0x9352
        ; In service, a lower class waits for the EOI; PPR shows the class.
        SET_GATE64 0x81, CODE64, nested, A_INT
        mov     dword [rbx + A_ICR], 0x40081
        WINDOW
        CHECK_EQ32 [inside], 2
        CHECK_EQ32 [inside + 4], 0x80
        CHECK_EQ32 [COUNT(0x60)], 3
        ; Timer, one shot.
        mov     dword [rbx + A_DIVIDE], 0xb             ; by 1
        mov     dword [rbx + A_LVT_TIMER], 0x71
        mov     dword [rbx + A_INITIAL], 100000
        WAIT_FOR 0x71, 1
        CHECK_EQ32 [rbx + A_CURRENT], 0
        WINDOW
        CHECK_EQ32 [COUNT(0x71)], 1
        ; Periodic.
        mov     dword [rbx + A_LVT_TIMER], 0x20071
        mov     dword [rbx + A_INITIAL], 200000
        WAIT_FOR 0x71, 4
        mov     dword [rbx + A_INITIAL], 0              ; stops it
        WINDOW
        mov     eax, [COUNT(0x71)]
        mov     [ctx], eax
        WINDOW
        mov     ecx, [ctx]
        CHECK_EQ32 [COUNT(0x71)], ecx
        mov     dword [ctx], 0
        ; Masked: it counts and stays silent.
        mov     dword [rbx + A_LVT_TIMER], 0x10071
        mov     dword [rbx + A_INITIAL], 20000
.down:  pause
        cmp     dword [rbx + A_CURRENT], 0
        jne     .down
        WINDOW
        CHECK_EQ32 [COUNT(0x71)], ecx
        ; A disabled APIC masks its entries.
        mov     dword [rbx + A_SVR], 0xff
        CHECK_BITS32 [rbx + A_LVT_TIMER], 0x10000, 0x10000
        mov     dword [rbx + A_SVR], 0x1ff
        ; Vectors below 16 are an error.
        mov     dword [rbx + A_ESR], 0
        mov     dword [rbx + A_ICR], 0x40005
        mov     dword [rbx + A_ESR], 0
        CHECK_BITS32 [rbx + A_ESR], 0x60, 0x20          ; qemu-deviates: 0x40 as well or no error; bochs-deviates: not recorded
        mov     dword [rbx + A_ESR], 0
        jmp     done64
note:   shl     dword [order], 8
        or      dword [order], 0x52
        mov     dword [rbx + A_EOI], 0
        iretq
.other: shl     dword [order], 8
        or      dword [order], 0x93
        mov     dword [rbx + A_EOI], 0
        iretq
nested: push    r10
        mov     eax, [rbx + A_PPR]
        mov     [inside + 4], eax
        mov     dword [rbx + A_ICR], 0x40060
        WINDOW
        mov     eax, [COUNT(0x60)]
        mov     [inside], eax
        mov     dword [rbx + A_EOI], 0
        pop     r10
        iretq
order:  dd      0
inside: dd      0, 0
done64: TEST_END
