; covers: SGDT, sensitive.SGDT
; expects: SGDT stores limit and base in every mode and ring; UMIP makes it #GP(0) above ring 0 and in V86 mode.
%include "prelude.inc"

%macro STORES 1
        FILL_SCRATCH
        TRY     %1
        sgdt    [MEM(SCRATCH)]
        END
        EXPECT_OK
        CHECK_EQ32 [SCRATCH], (GDT & 0xffff) << 16 | GDT_LIMIT
    %if IS_64(%1)
        CHECK_EQ32 [SCRATCH + 4], GDT >> 16
        CHECK_EQ32 [SCRATCH + 8], 0x55550000
    %else
        CHECK_EQ32 [SCRATCH + 4], 0x55550000 | GDT >> 16
        CHECK_EQ32 [SCRATCH + 8], 0x55555555
    %endif
%endmacro
%macro UMIP_STORES 1
        FILL_SCRATCH
        TRY     %1
        sgdt    [MEM(SCRATCH)]
        END
    %if IS_RING3(%1)
        EXPECT  GP, 0
        CHECK_EQ32 [SCRATCH], 0x55555555
    %else
        EXPECT_OK
        CHECK_EQ32 [SCRATCH], (GDT & 0xffff) << 16 | GDT_LIMIT
    %endif
%endmacro
        OVER_ALL STORES
        GO_LEGACY
        NEED_OR F_UMIP, 'umip', done
        CR4_BOTH CR4_UMIP
        OVER_ALL UMIP_STORES
        CR4_BOTH 0
        ; A register operand does not exist (0F 01 C0 is VMCALL space): #UD with LOCK as well.
        TRY     PM32_0
        db      0xf0, 0x0f, 0x01, 0x05
        dd      SCRATCH
        END
        EXPECT  UD, NOERR       ; qemu-deviates: LOCK is ignored here
done:   TEST_END
