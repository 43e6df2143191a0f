; covers: LAR, sensitive.LAR, segmentation.lar
; expects: LAR is #UD in real and V86 mode, else ZF says if type and privilege allow it and the rights byte is loaded.
%include "prelude.inc"
%include "descriptors.inc"

; CASE selector, ZF, rights: in MODE.
%macro CASE 3
        TRY     MODE
        mov     edx, %1
        mov     ecx, 0x12345678
        lar     ecx, edx
        END
    %if %2
        CHECK_BITS32 [out_rcx], 0xf0ff00, (%3) & 0xf0ff00
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
        CASE    3, 0, 0
        CASE    D_CODE, r0, 0x419a00
        CASE    D_CODE3, 1, 0xc0fa00
        CASE    D_XO3 | 3, 1, 0x41f800
        CASE    D_CONF, 1, 0xcf9e00             ; conforming: no privilege check
        CASE    D_CONF | 3, 1, 0xcf9e00
        CASE    D_DATA, r0, 0x419200
        CASE    D_DATA | 3, 0, 0                ; RPL above DPL
        CASE    D_DATA1 | 1, r0, 0x41b200
        CASE    D_DATA1 | 2, 0, 0
        CASE    D_DOWN3 | 3, 1, 0x41f600
        CASE    D_NP3 | 3, 1, 0x417200          ; presence does not matter
        CASE    D_LDT, 1, 0xe200
        CASE    D_TSS16, legacy, 0xe100 ; qemu-deviates: accepts 16-bit system types in long mode
        CASE    D_TSS16B, legacy, 0xe300 ; qemu-deviates: accepts 16-bit system types in long mode
        CASE    D_CALL16, legacy, 0xe400 ; qemu-deviates: accepts 16-bit system types in long mode
        CASE    D_TASK, legacy, 0xe500 ; qemu-deviates: accepts 16-bit system types in long mode
        CASE    D_INT16, 0, 0
        CASE    D_TRAP16, 0, 0
        CASE    D_TSS, 1, 0xe900
        CASE    D_TSSB, 1, 0xeb00
        CASE    D_CALL, 1, 0xec00
        CASE    D_INT, 0, 0
        CASE    D_TRAP, 0, 0
        CASE    D_ZERO, 0, 0
        CASE    0x1000, 0, 0                    ; beyond the table
        CASE    0xffff, 0, 0
        CASE    4, 0, 0                         ; LDT that is null
%endmacro
%macro UNDEFINED 1
        TRY     %1
        lar     ecx, edx
        END
        EXPECT  UD, NOERR
%endmacro
        FILL_DESCRIPTORS
        OVER    UNDEFINED, REAL, V86_0, V86_3
        OVER_PROTECTED ALL_CASES
        GO_LEGACY
        TRY     PM32_0                          ; 16-bit form loads the low word only
        mov     edx, D_DATA
        mov     ecx, 0x12345678
        lar     cx, dx
        END
        CHECK_EQ32 [out_rcx], 0x12349200
        TRY     L64_0                           ; 64-bit form clears the high half
        mov     edx, D_DATA
        mov     rcx, -1
        lar     rcx, edx
        END
        CHECK_EQ32 [out_rcx + 4], 0
        TEST_END
