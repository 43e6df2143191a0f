; covers: LSL, sensitive.LSL, segmentation.lsl
; expects: LSL is #UD in real and V86 mode, else ZF says if type and privilege allow it and the byte limit is loaded.
%include "prelude.inc"
%include "descriptors.inc"

%macro CASE 3
        TRY     MODE
        mov     edx, %1
        mov     ecx, 0x12345678
        lsl     ecx, edx
        END
    %if %2
        CHECK_EQ32 [out_rcx], %3
    %else
        CHECK_EQ32 [out_rcx], 0x12345678
    %endif
        EXPECT_FLAG FL_ZF, (%2) * FL_ZF
%endmacro
%macro ALL_CASES 1
    %define MODE %1
    %assign r0 (IS_RING3(%1) == 0)
    %assign legacy (IS_LONG(%1) == 0)
        CASE    0, 0, 0
        CASE    2, 0, 0
        CASE    D_CODE, r0, D_LIMIT
        CASE    D_CODE3, 1, 0x45fff             ; page granular
        CASE    D_XO3 | 3, 1, D_LIMIT
        CASE    D_CONF, 1, 0xffffffff
        CASE    D_CONF | 3, 1, 0xffffffff
        CASE    D_DATA, r0, D_LIMIT
        CASE    D_DATA | 3, 0, 0
        CASE    D_DATA1 | 1, r0, D_LIMIT
        CASE    D_DATA1 | 2, 0, 0
        CASE    D_DOWN3 | 3, 1, D_LIMIT         ; the raw limit, expand-down or not
        CASE    D_NP3 | 3, 1, D_LIMIT
        CASE    D_LDT, 1, 0x321
        CASE    D_TSS16, legacy, 0x321 ; qemu-deviates: accepts 16-bit system types in long mode
        CASE    D_TSS16B, legacy, 0x321 ; qemu-deviates: accepts 16-bit system types in long mode
        CASE    D_CALL16, 0, 0                  ; gates have no limit
        CASE    D_TASK, 0, 0
        CASE    D_INT16, 0, 0
        CASE    D_TRAP16, 0, 0
        CASE    D_TSS, 1, 0x321
        CASE    D_TSSB, 1, 0x321
        CASE    D_CALL, 0, 0
        CASE    D_INT, 0, 0
        CASE    D_TRAP, 0, 0
        CASE    D_ZERO, 0, 0
        CASE    0x1000, 0, 0
        CASE    0xffff, 0, 0
        CASE    4, 0, 0
%endmacro
%macro UNDEFINED 1
        TRY     %1
        lsl     ecx, edx
        END
        EXPECT  UD, NOERR
%endmacro
        FILL_DESCRIPTORS
        OVER    UNDEFINED, REAL, V86_0, V86_3
        OVER_PROTECTED ALL_CASES
        GO_LEGACY
        TRY     PM32_0
        mov     edx, D_DATA
        mov     ecx, 0x12345678
        lsl     cx, dx
        END
        CHECK_EQ32 [out_rcx], 0x12340000 | D_LIMIT & 0xffff
        TRY     L64_0
        mov     edx, D_DATA
        mov     rcx, -1
        lsl     rcx, edx
        END
        CHECK_EQ [out_rcx], D_LIMIT
        TEST_END
