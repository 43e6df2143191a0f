; covers: SLDT, sensitive.SLDT
; expects: SLDT is #UD in real and V86 mode, else stores the LDT selector in any ring; UMIP makes it #GP(0) in ring 3.
%include "prelude.inc"

%macro STORES 1
        FILL_SCRATCH
        mov     ecx, LDT_SEL
        lldt    cx
        TRY     %1
        sldt    [MEM(SCRATCH)]
        END
    %if NO_PM(%1)
        EXPECT  UD, NOERR
    %else
        EXPECT_OK
        CHECK_EQ32 [SCRATCH], 0x55550000 | LDT_SEL     ; memory form always stores a word
        TRY     %1
        o32 sldt eax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], LDT_SEL
    %endif
    %if IS_64(%1)
        CHECK_EQ32 [out_rax + 4], 0
        TRY     %1
        sldt    rax
        END
        EXPECT_OK
        CHECK_EQ [out_rax], LDT_SEL
        TRY     %1
        sldt    ax
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 0xa0a0a0a0a0a00000 + LDT_SEL
    %endif
%endmacro
%macro UMIP_STORES 1
        FILL_SCRATCH
        TRY     %1
        sldt    [MEM(SCRATCH)]
        END
    %if NO_PM(%1)
        EXPECT  UD, NOERR
    %elif IS_RING3(%1)
        EXPECT  GP, 0
        TRY     %1
        sldt    ax
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
