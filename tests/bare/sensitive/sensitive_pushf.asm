; covers: PUSHF, PUSHFD, PUSHFQ, sensitive.PUSHF, v8086.vme
; expects: PUSHF shows the true flags in any ring; V86 with IOPL < 3 is #GP(0), or with VME shows VIF as IF and IOPL 3.
%include "prelude.inc"

%macro SHOWS 1
        SET_FLAGS FL_IF | FL_CF | FL_DF
        TRY     %1
        o16 pushf
        pop     ax
        END
    %if %1 == V86_0
        EXPECT  GP, 0
    %else
        EXPECT_OK
      %if %1 == V86_3
        CHECK_EQ32 [out_rax], 0xa0a00000 | FL_IF | FL_CF | FL_DF | FL_FIX | FL_IOPL3
      %else
        CHECK_EQ32 [out_rax], 0xa0a00000 | FL_IF | FL_CF | FL_DF | FL_FIX
      %endif
    %endif
    %if IS_64(%1)
        SET_FLAGS FL_RF | FL_AC | FL_ID | FL_IOPL3
        TRY     %1
        pushfq
        pop     rax
        END
        EXPECT_OK
        CHECK_EQ [out_rax], FL_AC | FL_ID | FL_IOPL3 | FL_FIX
    %elif %1 != REAL
        SET_FLAGS FL_AC | FL_ID
        TRY     %1
        o32 pushfd
        pop     eax
        END
      %if %1 == V86_0
        EXPECT  GP, 0
      %elif %1 == V86_3
        EXPECT_OK
        CHECK_EQ32 [out_rax], FL_AC | FL_ID | FL_FIX | FL_IOPL3          ; VM and RF read as 0
      %else
        EXPECT_OK
        CHECK_EQ32 [out_rax], FL_AC | FL_ID | FL_FIX
      %endif
    %endif
%endmacro
        OVER_ALL SHOWS
        GO_LEGACY
        NEED_OR F_VME, 'vme', done
        CR4_BOTH CR4_VME
        SET_FLAGS FL_VIF | FL_CF
        TRY     V86_0
        pushf
        pop     ax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0xa0a00000 | FL_IF | FL_IOPL3 | FL_CF | FL_FIX
        SET_FLAGS FL_IF                                 ; VIF clear: IF reads as 0
        TRY     V86_0
        pushf
        pop     ax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0xa0a00000 | FL_IOPL3 | FL_FIX
        SET_FLAGS FL_VIF
        TRY     V86_0
        o32 pushfd
        pop     eax
        END
        EXPECT  GP, 0
        SET_FLAGS FL_IF
        TRY     V86_3                                   ; IOPL 3: the true IF even with VME
        pushf
        pop     ax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0xa0a00000 | FL_IOPL3 | FL_IF | FL_FIX
        SET_FLAGS FL_VIF
        TRY     PM32_3                                  ; PVI and VME do not touch PUSHF in protected mode
        pushfd
        pop     eax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], FL_VIF | FL_FIX
done:   TEST_END
