; covers: POPF, POPFD, POPFQ, sensitive.POPF, v8086.vme
; expects: POPF above the I/O privilege silently keeps IF and IOPL; V86 with IOPL < 3 is #GP(0), or with VME writes VIF.
%include "prelude.inc"

; POPS mode, pushed image, expected flags, mask: 16-bit POPF.
%macro POPS16 4
        TRY     %1
        push    word %2
        AT
        o16 popf
        END
        EXPECT_OK
        EXPECT_FLAG %4, %3
%endmacro
%macro RING0 1
        POPS16  %1, FL_IF | FL_IOPL3 | FL_CF | FL_DF | FL_NT, FL_IF | FL_IOPL3 | FL_CF | FL_DF | FL_NT | FL_FIX, 0xfeff
        SET_FLAGS FL_IF | FL_IOPL3 | FL_CF | FL_DF
        POPS16  %1, 0, FL_FIX, 0xfeff
%endmacro
%macro RING3 1
        POPS16  %1, FL_IF | FL_IOPL3 | FL_CF | FL_NT, FL_CF | FL_NT | FL_FIX, 0xfeff
        SET_FLAGS FL_IF
        POPS16  %1, FL_IOPL3, FL_IF | FL_FIX, 0xfeff
        SET_FLAGS FL_IOPL3                              ; IOPL 3: IF may change, IOPL may not
        POPS16  %1, FL_IF, FL_IF | FL_IOPL3 | FL_FIX, 0xfeff
        SET_FLAGS FL_IOPL3 | FL_IF
        POPS16  %1, 0x1000, FL_IOPL3 | FL_FIX, 0xfeff
%endmacro
        OVER    RING0, REAL, PM16_0, PM32_0, C16_0, C32_0, L64_0
        OVER    RING3, PM16_3, PM32_3, C16_3, C32_3, L64_3
        ; 32-bit form: ID and AC change, VM, RF, VIF, VIP do not.
        TRY     PM32_0
        push    dword 0x3f0000 | FL_FIX
        popfd
        END
        EXPECT_OK
        EXPECT_FLAG FL_ID | FL_AC | FL_VM | FL_VIF | FL_VIP, FL_ID | FL_AC
        TRY     PM32_3
        push    dword 0x3c0000 | FL_FIX
        popfd
        END
        EXPECT_OK
        EXPECT_FLAG FL_ID | FL_AC | FL_VM | FL_VIF | FL_VIP, FL_ID | FL_AC
        TRY     L64_0
        push    0x3d0000 | FL_IOPL3 | FL_NT | FL_FIX
        popfq
        END
        EXPECT_OK
        EXPECT_FLAG FL_ID | FL_AC | FL_VIF | FL_VIP | FL_NT | FL_IOPL3, FL_ID | FL_AC | FL_NT | FL_IOPL3
        SET_FLAGS FL_IF
        TRY     L64_3
        push    FL_ID | FL_IOPL3
        popfq
        END
        EXPECT_OK
        EXPECT_FLAG FL_ID | FL_IF | FL_IOPL3, FL_ID | FL_IF

        ; V86 mode.
        SET_FLAGS FL_IF
        POPS16  V86_3, FL_CF, FL_CF | FL_IOPL3 | FL_FIX | FL_VM, 0x3ffff - FL_RF
        TRY     V86_0
        push    word 0
        AT
        popf
        END
        EXPECT  GP, 0
        TRY     V86_0
        push    dword 0
        AT
        o32 popfd
        END
        EXPECT  GP, 0
        TRY     V86_3
        push    dword FL_AC | FL_VIF
        o32 popfd
        END
        EXPECT_OK
        EXPECT_FLAG FL_AC | FL_VM | FL_IOPL3 | FL_VIF, FL_AC | FL_VM | FL_IOPL3

        NEED_OR F_VME, 'vme', done
        CR4_BOTH CR4_VME
        TRY     V86_0
        push    word FL_IF | FL_IOPL3 | FL_CF
        popf
        END
        EXPECT_OK
        EXPECT_FLAG FL_VIF | FL_IF | FL_IOPL3 | FL_CF, FL_VIF | FL_CF
        SET_FLAGS FL_VIF | FL_IF
        TRY     V86_0
        push    word 0
        popf
        END
        EXPECT_OK
        EXPECT_FLAG FL_VIF | FL_IF, FL_IF
        SET_FLAGS FL_VIP
        TRY     V86_0                                   ; a pending virtual interrupt would become deliverable
        push    word FL_IF
        AT
        popf
        END
        EXPECT  GP, 0
        SET_FLAGS FL_VIP
        TRY     V86_0
        push    word 0
        popf
        END
        EXPECT_OK
        TRY     V86_0                                   ; TF in the image
        push    word FL_TF
        AT
        popf
        END
        EXPECT  GP, 0
        TRY     V86_0
        push    dword 0
        AT
        o32 popfd
        END
        EXPECT  GP, 0
done:   TEST_END
