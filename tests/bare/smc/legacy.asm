; covers: smc.real_mode, smc.segment_alias, smc.mode_change
; expects: written code is executed as written in 16-bit modes and when the same bytes run in another mode.
%include "prelude.inc"

%macro CASES 1
        TRY     %1
        mov     byte [MEM(SCRATCH)], 0xb0       ; mov al, imm8; ret
        mov     byte [MEM(SCRATCH + 1)], 0x21
        mov     byte [MEM(SCRATCH + 2)], 0xc3
        call    %%run
        mov     dl, al
        mov     byte [MEM(SCRATCH + 1)], 0x43
        call    %%run
        jmp     %%done
%%run:
  %if IS_16(%1)
        mov     bx, SCRATCH16
        jmp     bx
  %else
        mov     ebx, SCRATCH
        jmp     ebx
  %endif
%%done:
        END
        EXPECT_OK
        CHECK_BITS32 [out_rdx], 0xff, 0x21
        CHECK_BITS32 [out_rax], 0xff, 0x43
%endmacro
        CASES   REAL
        CASES   V86_3
        CASES   PM16_3
        CASES   PM32_3
        CASES   PM32_0
        ; The same bytes in 16-bit and 32-bit code: B8 takes two or four bytes.
        mov     dword [SCRATCH], 0x0f1234b8
        mov     dword [SCRATCH + 4], 0x000b0f0b
        TRY     PM32_3
        mov     ebx, SCRATCH
        jmp     ebx
        END
        CHECK_EQ32 [out_vec], UD
        CHECK_EQ32 [out_rax], 0x0b0f1234
        CHECK_EQ32 [out_rip], SCRATCH + 5
        TRY     PM16_3
        mov     bx, SCRATCH16
        jmp     bx
        END
        CHECK_BITS32 [out_rax], 0xffff, 0x1234
        TRY     PM32_3
        mov     ebx, SCRATCH
        jmp     ebx
        END
        CHECK_EQ32 [out_rax], 0x0b0f1234
        ; The same linear address by way of another segment base.
        SET_DESC GDT + FREE_SEL, SCRATCH - 0x100, 0xfff, A_UCODE, F_B
        TRY     PM32_3
        mov     byte [SCRATCH + 1], 0x77
        jmp     FREE_SEL | 3:0x100
        END
        CHECK_EQ32 [out_rax], 0x0b0f1277
        CHECK_EQ32 [out_rip], 0x105
        TRY     REAL
        mov     byte [SCRATCH16 + 1], 0x88
        jmp     (SCRATCH >> 4):0
        END
        CHECK_BITS32 [out_rax], 0xffff, 0x1288
        TEST_END
