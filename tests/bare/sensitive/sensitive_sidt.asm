; covers: SIDT, sensitive.SIDT
; expects: SIDT stores limit and base in every mode and ring; UMIP makes it #GP(0) above ring 0 and in V86 mode.
%include "prelude.inc"

%macro STORES 1
        FILL_SCRATCH
        TRY     %1
        sidt    [MEM(SCRATCH)]
        END
        EXPECT_OK
    %if %1 == REAL
        CHECK_EQ32 [SCRATCH], 0x3ff
        CHECK_EQ32 [SCRATCH + 4], 0x55550000
    %elif IS_64(%1)
        CHECK_EQ32 [SCRATCH], (IDT64 & 0xffff) << 16 | 0xfff
        CHECK_EQ32 [SCRATCH + 4], IDT64 >> 16
        CHECK_EQ32 [SCRATCH + 8], 0x55550000
    %elif IS_LONG(%1)
        CHECK_EQ32 [SCRATCH], (IDT64 & 0xffff) << 16 | 0xfff
        CHECK_EQ32 [SCRATCH + 4], 0x55550000 | IDT64 >> 16
    %else
        CHECK_EQ32 [SCRATCH], (IDT32 & 0xffff) << 16 | 0x7ff
        CHECK_EQ32 [SCRATCH + 4], 0x55550000 | IDT32 >> 16
        CHECK_EQ32 [SCRATCH + 8], 0x55555555
    %endif
%endmacro
%macro UMIP_STORES 1
        FILL_SCRATCH
        TRY     %1
        sidt    [MEM(SCRATCH)]
        END
    %if IS_RING3(%1)
        EXPECT  GP, 0
        CHECK_EQ32 [SCRATCH], 0x55555555
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
