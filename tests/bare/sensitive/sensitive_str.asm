; covers: STR, sensitive.STR
; expects: STR is #UD in real and V86 mode, else stores the task register in any ring; UMIP makes it #GP(0) in ring 3.
%include "prelude.inc"

%macro STORES 1
        FILL_SCRATCH
    %if IS_LONG(%1)
      %define TR_SELECTOR TSS64_SEL
    %else
      %define TR_SELECTOR TSS32_SEL
    %endif
        TRY     %1
        str     [MEM(SCRATCH)]
        END
    %if NO_PM(%1)
        EXPECT  UD, NOERR
    %else
        EXPECT_OK
        CHECK_EQ32 [SCRATCH], 0x55550000 | TR_SELECTOR     ; memory form always stores a word
        TRY     %1
        o32 str eax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], TR_SELECTOR
    %endif
    %if IS_64(%1)
        CHECK_EQ32 [out_rax + 4], 0
        TRY     %1
        str    rax
        END
        EXPECT_OK
        CHECK_EQ [out_rax], TR_SELECTOR
        TRY     %1
        str    ax
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 0xa0a0a0a0a0a00000 + TR_SELECTOR
    %endif
%endmacro
%macro UMIP_STORES 1
        FILL_SCRATCH
        TRY     %1
        str    [MEM(SCRATCH)]
        END
    %if NO_PM(%1)
        EXPECT  UD, NOERR
    %elif IS_RING3(%1)
        EXPECT  GP, 0
        TRY     %1
        str    ax
        END
        EXPECT  GP, 0
    %else
        EXPECT_OK
    %endif
%endmacro
        OVER_ALL STORES
        GO_LEGACY
        NEED_OR F_UMIP, 'umip', done
        CR4_BOTH CR4_UMIP
        OVER_ALL UMIP_STORES
done:   TEST_END
