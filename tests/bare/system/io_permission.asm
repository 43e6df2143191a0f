; covers: IN, OUT, INS, OUTS, io.bitmap, io.iopl
; expects: ports are open in ring 0 and to IOPL 3, else the TSS bitmap decides for every byte; V86 always asks the bitmap.
%include "prelude.inc"

; A word access needs both of its bits; port 0x80 and 0x81 are used.
%macro OPEN 1                   ; bits of the byte for ports 0x80..0x87 that are open
        mov     byte [TSS32_IOMAP + 0x10], 0xff & ~(%1)
        mov     byte [TSS64_IOMAP + 0x10], 0xff & ~(%1)
%endmacro
%macro ALLOWED 2-*
        TRY     %1
        %{2:-1}
        END
        EXPECT_OK
%endmacro
%macro REFUSED 2-*
        TRY     %1
        %{2:-1}
        END
        EXPECT  GP, 0
%endmacro
%macro CASES 1
        OPEN    0
        mov     dword [in_rdx], 0x80
        REFUSED %1, in al, 0x80
        REFUSED %1, out dx, al
        OPEN    1
        ALLOWED %1, out 0x80, al
        ALLOWED %1, in al, dx
        REFUSED %1, in ax, dx
        REFUSED %1, out dx, eax
        OPEN    3
        ALLOWED %1, out dx, ax
        REFUSED %1, out dx, eax
        OPEN    0xf
        ALLOWED %1, out dx, eax
        OPEN    0x7f
        mov     dword [in_rdx], 0x87
        REFUSED %1, in al, dx
        OPEN    0x80
        ALLOWED %1, in al, dx
        REFUSED %1, in ax, dx                   ; the second byte of the pair is in the next byte of the map
        mov     dword [in_rdx], 0xffff
        REFUSED %1, in al, dx
        mov     dword [in_rdx], 0x80
        mov     dword [in_rsi], SCRATCH & 0xffff
        mov     dword [in_rdi], SCRATCH & 0xffff
    %if IS_V86(%1)
        REFUSED %1, insb
        OPEN    1
        ALLOWED %1, insb
        ALLOWED %1, outsb
        CHECK_BITS32 [out_rsi], 0xffff, SCRATCH16 + 1
    %endif
%endmacro
        OVER    CASES, V86_0, V86_3, PM16_3, PM32_3, C16_3, C32_3, L64_3
        ; IOPL 3 needs no bitmap outside V86 mode.
        OPEN    0
        mov     dword [in_rdx], 0x80
        SET_FLAGS FL_IOPL3
        ALLOWED L64_3, out dx, eax
        ALLOWED L64_0, out dx, eax
        SET_FLAGS 0x2000                        ; IOPL 2 is not enough
        REFUSED L64_3, out dx, al
        SET_FLAGS FL_IOPL3
        ALLOWED PM32_3, out dx, ax
        ALLOWED REAL, out dx, al
        ; The map ends with the TSS limit; a byte of the pair beyond it refuses.
        GO_LEGACY
        OPEN    0xff
        mov     word [GDT + TSS32_SEL], 0x88 + 0x11
        mov     byte [GDT + TSS32_SEL + 5], A_TSS
        mov     eax, TSS32_SEL
        ltr     ax
        ALLOWED PM32_3, out dx, al
        mov     word [GDT + TSS32_SEL], 0x88 + 0x10
        mov     byte [GDT + TSS32_SEL + 5], A_TSS
        mov     eax, TSS32_SEL
        ltr     ax
        REFUSED PM32_3, out dx, al              ; two bytes are always read
        mov     word [GDT + TSS32_SEL], TSS_LIMIT
        mov     byte [GDT + TSS32_SEL + 5], A_TSS
        mov     eax, TSS32_SEL
        ltr     ax
        mov     word [TSS32 + 0x66], TSS_LIMIT + 1      ; base beyond the limit: no map
        REFUSED PM32_3, out dx, al
        mov     word [TSS32 + 0x66], 0x88
        ALLOWED PM32_3, out dx, al
        TEST_END
