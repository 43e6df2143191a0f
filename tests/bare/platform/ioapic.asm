; covers: platform.ioapic, platform.pm_timer, platform.tsc_monotonic
; expects: the PIT reaches its IOAPIC input edge-triggered, redirection entries read back, and timers never run backwards.
%include "prelude.inc"
%include "apic.inc"

        GO_LONG
        APIC_ON
        COUNTER 0x55
        mov     ebp, IOAPIC
%macro IO_READ 1
        mov     dword [rbp], %1
        mov     eax, [rbp + 0x10]
%endmacro
%macro IO_WRITE 2
        mov     dword [rbp], %1
        mov     dword [rbp + 0x10], %2
%endmacro
        IO_READ 1
        and     eax, 0x00ff0000
        CHECK_EQ32 eax, 23 << 16
        ; Mask every input, check the fields that read back.
        mov     ecx, 0x10
.mask:  mov     [rbp], ecx
        mov     dword [rbp + 0x10], 0x10000
        add     ecx, 2
        cmp     ecx, 0x40
        jb      .mask
        IO_WRITE 0x2e, 0x1a955
        IO_READ 0x2e
        CHECK_BITS32 eax, 0x1afff, 0x1a955
        IO_WRITE 0x2e, 0x10000
        ; ISA IRQ 0 is input 2 (interrupt source override of every PC).
        mov     al, 0x34
        out     0x43, al
        mov     al, 0xa9
        out     0x40, al
        mov     al, 4
        out     0x40, al
        mov     eax, [rbx + A_ID]
        mov     ecx, eax
        mov     dword [rbp], 0x15
        mov     [rbp + 0x10], ecx
        IO_WRITE 0x14, 0x55
        WAIT_FOR 0x55, 3
        IO_WRITE 0x14, 0x10055
        WINDOW
        mov     ecx, [COUNT(0x55)]
        WINDOW
        CHECK_EQ32 [COUNT(0x55)], ecx
        ; Time stamps grow.
        mov     ecx, 2000
        xor     esi, esi
        xor     edi, edi
.tsc:   rdtsc
        cmp     edx, edi
        ja      .ok
        jb      .back
        cmp     eax, esi
        jb      .back
.ok:    mov     esi, eax
        mov     edi, edx
        loop    .tsc
.back:  CHECK_EQ32 ecx, 0
        TEST_END
