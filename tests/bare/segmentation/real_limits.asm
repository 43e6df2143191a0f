; covers: segmentation.real_mode, segmentation.wrap16, v8086.limits, modes.unreal
; expects: real and V86 mode fault at 64 KiB, stack pointers wrap, and limits loaded in protected mode stay in real mode.
%include "prelude.inc"

%macro CASES 1
        TRY     %1
        mov     bx, 0xffff
        AT
        mov     ax, [bx]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no limits
        TRY     %1
        mov     bx, 0xffff
        mov     al, [bx]
        mov     bx, 0xfffd
        AT
        mov     eax, [bx]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no limits
        TRY     %1
        mov     bp, 0xffff
        AT
        mov     ax, [bp]
        END
        EXPECT  SS_, 0                          ; qemu-deviates: no limits
        TRY     %1
        mov     ebx, 0x10000
        AT
        mov     al, [ebx]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no limits
        ; Offsets of 16-bit addressing wrap before the limit check.
        mov     byte [IMAGE + 0xfff0], 0x3c
        TRY     %1
        mov     bx, 0xfff8
        mov     si, 0xfff8
        mov     al, [bx + si]
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xff, 0x3c
        ; SP wraps from 0 to 0xfffe.
        TRY     %1
        mov     sp, 0
        push    cx
        mov     dx, sp
        mov     sp, 0xf800
        END
        EXPECT_OK
        CHECK_BITS32 [out_rdx], 0xffff, 0xfffe
        CHECK_BITS32 [IMAGE + 0xfffe], 0xffff, 0xc1c1
        ; Segment arithmetic: FFFF:0010 is 1 MiB.
        mov     byte [0x100000], 0x77
        TRY     %1
        mov     ax, 0xffff
        mov     es, ax
        mov     al, [es:0x10]
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xff, 0x77
        TRY     %1                              ; string instructions wrap SI and DI
        mov     si, 0xffff
        mov     di, 0xfff0
        lodsb
        END
        EXPECT_OK
        CHECK_BITS32 [out_rsi], 0xffff, 0
        CHECK_BITS32 [out_rsi], 0xffff0000, 0x51510000
        ; A 32-bit branch target above 64 KiB.
        TRY     %1
        mov     ebx, 0x12345
        AT
        o32 jmp ebx
        END
        EXPECT  GP, 0                           ; qemu-deviates: faults at the target or not
%endmacro
        OVER    CASES, REAL, V86_0, V86_3
        ; Segment registers are base = 16 * selector, and keep what protected mode loaded: big real mode.
        GO_LEGACY
        mov     dword [FREE_PAGES], 0xb16b00b5
        TRY     REAL
        cli
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        mov     bx, DATA32
        mov     fs, bx
        and     al, 0xfe
        mov     cr0, eax
        mov     ebx, FREE_PAGES
        mov     eax, [fs:ebx]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0xb16b00b5
        TRY     REAL                            ; loading in real mode changes the base and keeps the limit
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        mov     bx, DATA32
        mov     fs, bx
        and     al, 0xfe
        mov     cr0, eax
        mov     bx, 0x100
        mov     fs, bx
        mov     ebx, FREE_PAGES - 0x1000
        mov     eax, [fs:ebx]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0xb16b00b5
        ; V86 sets its limits whatever was there before.
        TRY     V86_3
        mov     ebx, FREE_PAGES
        AT
        mov     eax, [fs:ebx]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no limits
        TEST_END
