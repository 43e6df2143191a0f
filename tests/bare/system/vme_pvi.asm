; covers: CLI, STI, v8086.vme, v8086.pvi
; expects: with VME or PVI, CLI and STI below IOPL 3 act on VIF; STI with VIP set is #GP(0).
%include "prelude.inc"

        NEED    F_VME, 'vme'
        ; Without them CLI and STI are #GP(0).
        TRY     V86_0
        cli
        END
        EXPECT  GP, 0
        TRY     V86_0
        sti
        END
        EXPECT  GP, 0
        TRY     V86_3
        sti
        END
        EXPECT_OK
        EXPECT_FLAG FL_IF | FL_VIF, FL_IF
        CR      cr4, CR4_VME | CR4_PVI, 0
%macro VIRTUAL 1
        SET_FLAGS FL_IF
        TRY     %1
        sti
        END
        EXPECT_OK
        EXPECT_FLAG FL_IF | FL_VIF, FL_IF | FL_VIF
        SET_FLAGS FL_IF | FL_VIF
        TRY     %1
        cli
        END
        EXPECT_OK
        EXPECT_FLAG FL_IF | FL_VIF, FL_IF
        SET_FLAGS FL_VIP
        TRY     %1
        sti
        END
        EXPECT  GP, 0
        SET_FLAGS FL_VIP
        TRY     %1
        cli
        END
        EXPECT_OK
%endmacro
        VIRTUAL V86_0
        VIRTUAL PM32_3
        VIRTUAL PM16_3
        ; With IOPL 3 they act on IF.
        SET_FLAGS FL_IF | FL_VIF
        TRY     V86_3
        cli
        END
        EXPECT_OK
        EXPECT_FLAG FL_IF | FL_VIF, FL_VIF
        SET_FLAGS FL_IF | FL_VIF | FL_IOPL3
        TRY     PM32_3
        cli
        END
        EXPECT_FLAG FL_IF | FL_VIF, FL_VIF
        ; PVI does not change POPF: IF is silently kept.
        SET_FLAGS FL_IF
        TRY     PM32_3
        push    dword FL_CF
        popfd
        END
        EXPECT_OK
        EXPECT_FLAG FL_IF | FL_VIF | FL_CF, FL_IF | FL_CF
        ; IRET in V86 mode with VME acts on VIF, for 16-bit frames only.
        SET_FLAGS FL_IF
        TRY     V86_0
        push    word FL_IF | FL_CF
        push    cs
        push    word landing - image_start
        AT
        iret
        END
        CHECK_EQ32 [out_rip], landing - image_start
        EXPECT_FLAG FL_IF | FL_VIF | FL_CF, FL_IF | FL_VIF | FL_CF
        SET_FLAGS FL_VIP
        TRY     V86_0
        push    word FL_IF
        push    cs
        push    word landing - image_start
        AT
        iret
        END
        EXPECT  GP, 0
        TRY     V86_0
        push    dword FL_IF
        push    dword IMAGE >> 4
        push    dword landing - image_start
        AT
        o32 iret
        END
        EXPECT  GP, 0
        ; SDM 3B 21.3.2: VIF and VIP both set at the beginning of an instruction are #GP.
        SET_FLAGS FL_VIF | FL_VIP
        TRY     V86_0
        nop
        sti
        END
        EXPECT  GP, 0
        jmp     done32
landing: ud2
done32: TEST_END
