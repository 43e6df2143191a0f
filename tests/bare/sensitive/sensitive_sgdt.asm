; covers: SGDT, sensitive.SGDT
; expects: SGDT stores limit and base in every mode and ring; UMIP makes it #GP(0) above ring 0 (and in V86 mode).
%include "prelude.inc"

; STORES mode, name of the limit check: SGDT writes the table register as the mode defines its size.
%macro STORES 1
        mov     dword [SCRATCH], 0x55555555
        mov     dword [SCRATCH + 4], 0x55555555
        mov     dword [SCRATCH + 8], 0x55555555
    %if %1 == L64_0 || %1 == L64_3
        TRY     %1
        sgdt    [abs SCRATCH]
        END
    %elif %1 == PM32_0 || %1 == PM32_3 || %1 == C32_0 || %1 == C32_3
        TRY     %1
        sgdt    [SCRATCH]
        END
    %else
        TRY     %1
        o32 sgdt [SCRATCH16]
        END
    %endif
        EXPECT_OK
        CHECK_EQ32 [SCRATCH], (GDT & 0xffff) << 16 | GDT_LIMIT
        %if %1 == L64_0 || %1 == L64_3
        CHECK_EQ32 [SCRATCH + 4], GDT >> 16
        CHECK_EQ32 [SCRATCH + 8], 0x55550000
        %else
        CHECK_EQ32 [SCRATCH + 4], 0x55550000 | GDT >> 16
        CHECK_EQ32 [SCRATCH + 8], 0x55555555
        %endif
%endmacro
%macro REFUSED 1
        TRY     %1
        sgdt    [bx]
        END
        EXPECT  GP, 0
%endmacro
        STORES  REAL
        STORES  V86_0
        STORES  V86_3
        STORES  PM16_0
        STORES  PM16_3
        STORES  PM32_0
        STORES  PM32_3
        STORES  C16_0
        STORES  C16_3
        STORES  C32_0
        STORES  C32_3
        STORES  L64_0
        STORES  L64_3
        TEST_END
