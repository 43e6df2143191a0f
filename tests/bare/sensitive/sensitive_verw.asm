; covers: VERW, sensitive.VERW
; expects: VERW is #UD in real and V86 mode, else ZF says if the segment is writable at this privilege.
%include "prelude.inc"
%include "descriptors.inc"

%macro CASE 2
        TRY     MODE
        mov     edx, %1
        verw    dx
        END
        EXPECT_OK
        EXPECT_FLAG FL_ZF, (%2) * FL_ZF
%endmacro
%macro ALL_CASES 1
    %define MODE %1
    %assign r0 (IS_RING3(%1) == 0)
        CASE    0, 0
        CASE    D_CODE, 0
        CASE    D_CODE3 | 3, 0
        CASE    D_CONF | 3, 0
        CASE    D_DATA, r0
        CASE    D_DATA | 3, 0
        CASE    D_DATA3, 1
        CASE    D_RO3 | 3, 0
        CASE    D_DOWN3 | 3, 1
        CASE    D_DATA1 | 1, r0
        CASE    D_NP3 | 3, 1                    ; presence does not matter
        CASE    D_LDT, 0
        CASE    D_TSS, 0
        CASE    D_CALL, 0
        CASE    D_ZERO, 0
        CASE    0x1000, 0
        CASE    4, 0
%endmacro
%macro UNDEFINED 1
        TRY     %1
        verw    dx
        END
        EXPECT  UD, NOERR
%endmacro
        FILL_DESCRIPTORS
        OVER    UNDEFINED, REAL, V86_0, V86_3
        OVER_PROTECTED ALL_CASES
        GO_LEGACY
        mov     word [SCRATCH], D_DATA3
        TRY     PM32_3                          ; memory operand
        verw    [SCRATCH]
        END
        EXPECT_FLAG FL_ZF, FL_ZF
        TRY     PM32_0                          ; the accessed bit stays clear
        mov     edx, D_DATA3
        verw    dx
        END
        CHECK_BITS32 [GDT + D_DATA3 + 4], 0x100, 0
        TEST_END
