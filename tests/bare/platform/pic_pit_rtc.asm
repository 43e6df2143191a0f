; covers: platform.pic, platform.pit, platform.rtc, platform.uart
; expects: PIT and RTC interrupts come through the PICs, masks hold them back, and the UART loops back.
%include "prelude.inc"
%include "apic.inc"

        GO_LONG
        mov     dword [eoi_mode], 2
        COUNTER 0x20
        SET_GATE64 0x24, CODE64, uart, A_INT
        APIC_ON
        mov     dword [rbx + A_LVT_LINT0], 0x700        ; ExtINT
        ; Cascade at 0x20 and 0x28, all masked.
%macro OUT_ 2
        mov     al, %2
        out     %1, al
%endmacro
        OUT_    0x20, 0x11
        OUT_    0xa0, 0x11
        OUT_    0x21, 0x20
        OUT_    0xa1, 0x28
        OUT_    0x21, 4
        OUT_    0xa1, 2
        OUT_    0x21, 1
        OUT_    0xa1, 1
        OUT_    0x21, 0xff
        OUT_    0xa1, 0xff
        in      al, 0x21
        movzx   eax, al
        CHECK_EQ32 eax, 0xff
        ; PIT channel 0, rate generator, about 1 kHz.
        OUT_    0x43, 0x34
        OUT_    0x40, 0xa9
        OUT_    0x40, 0x04
        OUT_    0x21, 0xfe
        WAIT_FOR 0x20, 3
        OUT_    0x21, 0xff
        WINDOW
        mov     ecx, [COUNT(0x20)]
        WINDOW
        CHECK_EQ32 [COUNT(0x20)], ecx
        ; Latched and status read-back; the count stays below its reload value.
        OUT_    0x43, 0
        in      al, 0x40
        mov     dl, al
        in      al, 0x40
        mov     dh, al
        movzx   edx, dx
        cmp     edx, 0x4a9 + 1
        setb    al
        movzx   eax, al
        CHECK_EQ32 eax, 1
        OUT_    0x43, 0xe2                              ; status of channel 0
        in      al, 0x40
        and     al, 0x3f
        movzx   eax, al
        CHECK_EQ32 eax, 0x34
        ; Channel 2 through port 0x61, mode 0: OUT goes high at the end.
        OUT_    0x61, 1
        OUT_    0x43, 0xb0
        OUT_    0x42, 0xff
        OUT_    0x42, 0x03
        in      al, 0x61
        test    al, 0x20
        setz    al
        movzx   eax, al
        CHECK_EQ32 eax, 1
        mov     ecx, 10000000
.tone:  in      al, 0x61
        test    al, 0x20
        loopz   .tone
        setnz   al
        movzx   eax, al
        CHECK_EQ32 eax, 1
        ; RTC periodic interrupt at 1024 Hz on IRQ 8; register C acknowledges.
        SET_GATE64 0x28, CODE64, rtc, A_INT
        OUT_    0x70, 0x8a
        OUT_    0x71, 0x26
        OUT_    0x70, 0x8b
        OUT_    0x71, 0x42
        OUT_    0x70, 0x0c
        in      al, 0x71
        OUT_    0xa1, 0xfe
        OUT_    0x21, 0xfb
        WAIT_FOR 0x28, 3
        OUT_    0xa1, 0xff
        OUT_    0x21, 0xff
        OUT_    0x70, 0x8b
        OUT_    0x71, 0x02
        ; UART: loopback of a byte and of the modem lines; the transmitter interrupt on IRQ 4.
        mov     dx, 0x3fd
.empty: in      al, dx
        test    al, 0x40
        jz      .empty
        mov     dx, 0x3fc
        OUT_    dx, 0x1a                                ; loop, RTS, OUT2
        mov     dx, 0x3fe
        in      al, dx
        and     eax, 0xf0
        CHECK_EQ32 eax, 0x90
        mov     dx, 0x3f8
        OUT_    dx, 0x5c
        mov     dx, 0x3fd
        mov     ecx, 10000000
.wait:  in      al, dx
        test    al, 1
        loopz   .wait
        mov     dx, 0x3f8
        in      al, dx
        movzx   ecx, al
        mov     dx, 0x3fc
        OUT_    dx, 0x0b                                ; before anything is printed
        CHECK_EQ32 ecx, 0x5c
        OUT_    0x21, 0xef
        mov     dx, 0x3f9
        OUT_    dx, 2
        WAIT_FOR 0x24, 1
        mov     dx, 0x3f9
        OUT_    dx, 0
        OUT_    0x21, 0xff
        jmp     done64
uart:   push    rax
        push    rdx
        inc     dword [COUNT(0x24)]
        mov     dx, 0x3fa
        in      al, dx                                  ; reading IIR ends the transmitter interrupt
        call    end_of_interrupt
        pop     rdx
        pop     rax
        iretq
rtc:    push    rax
        inc     dword [COUNT(0x28)]
        OUT_    0x70, 0x0c
        in      al, 0x71
        call    end_of_interrupt
        pop     rax
        iretq
done64: TEST_END
