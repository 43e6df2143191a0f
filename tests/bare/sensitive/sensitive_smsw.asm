; covers: SMSW, sensitive.SMSW
; expects: SMSW stores CR0 in every mode and ring, the memory form a word; UMIP makes it #GP(0) above ring 0.
%include "prelude.inc"

%macro STORES 1
        FILL_SCRATCH
    %if IS_LONG(%1)
        GO_LONG
    %else
        GO_LEGACY
    %endif
        CR      cr0, CR0_TS | CR0_MP, 0
        TRY     %1
        smsw    [MEM(SCRATCH)]
        END
        EXPECT_OK
    %if %1 == REAL
      %define LOW HOME_CR0 - CR0_PE + CR0_TS + CR0_MP
    %else
      %define LOW HOME_CR0 + CR0_TS + CR0_MP
    %endif
        CHECK_EQ32 [SCRATCH], 0x55550000 | LOW
        TRY     %1
        o16 smsw ax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0xa0a00000 | LOW
        TRY     %1
        o32 smsw eax
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xffff, LOW
    %if IS_64(%1)
        CHECK_EQ32 [out_rax + 4], 0
        TRY     %1
        smsw    rax
        END
        EXPECT_OK
        CHECK_EQ [out_rax], CR0_PG + LOW
    %endif
        CR      cr0, 0, CR0_TS | CR0_MP
        TRY     %1
        o16 smsw ax
        END
        CHECK_BITS32 [out_rax], CR0_TS | CR0_MP, 0
%endmacro
%macro UMIP_STORES 1
        TRY     %1
        o16 smsw ax
        END
    %if IS_RING3(%1)
        EXPECT  GP, 0
        TRY     %1
        smsw    [MEM(SCRATCH)]
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
