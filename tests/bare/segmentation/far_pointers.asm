; covers: LDS, LES, LFS, LGS, LSS, segmentation.far_pointers
; expects: LDS and its kin load a register and a checked selector from memory, both or neither; registers are #UD.
%include "prelude.inc"
%include "paging64.inc"

        mov     dword [in_rbx], 0x11111111
%macro POINTER 2                ; offset, selector
        mov     dword [SCRATCH], %1
        mov     word [SCRATCH + 4], %2
%endmacro
%macro LOADS 3                  ; mode, segment, selector
        POINTER 0x12345678, %3
        TRY     %1
        l%2     ebx, [SCRATCH]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rbx], 0x12345678
        CHECK_BITS32 [out_%2], 0xffff, %3
%endmacro
%macro REFUSES 5                ; mode, segment, selector, vector, error code
        POINTER 0x12345678, %3
        TRY     %1
        l%2     ebx, [SCRATCH]
        END
        EXPECT  %4, %5
        CHECK_EQ32 [out_rbx], 0x11111111
%endmacro
%macro CASES 1                  ; segment
        LOADS   PM32_0, %1, DATA32
        REFUSES PM32_0, %1, 0x1000, GP, 0x1000
        REFUSES PM32_0, %1, EXECONLY, GP, EXECONLY
        LOADS   PM32_3, %1, UDATA32
    %ifnidni %1, ss
        LOADS   PM32_0, %1, 0
        LOADS   PM32_0, %1, READONLY
        REFUSES PM32_0, %1, NP_DATA, NP, NP_DATA
        REFUSES PM32_3, %1, DATA32, GP, DATA32
    %else
        REFUSES PM32_0, %1, 0, GP, 0
        REFUSES PM32_0, %1, READONLY, GP, READONLY
        REFUSES PM32_0, %1, NP_DATA, SS_, NP_DATA
        REFUSES PM32_0, %1, UDATA32, GP, UDATA32 & ~3
        REFUSES PM32_3, %1, DATA32, GP, DATA32
    %endif
%endmacro
        CASES   es
        CASES   fs
        CASES   gs
        CASES   ss
        CASES   ds
        ; Four bytes with a 16-bit operand; the upper half of the register stays.
        mov     dword [SCRATCH], UDATA32 << 16 | 0x5678
        TRY     PM32_3
        o16 les bx, [SCRATCH]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rbx], 0x11115678
        CHECK_BITS32 [out_es], 0xffff, UDATA32
        ; Real and virtual-8086 mode take any selector, and have no VEX prefix in C4 and C5.
%macro REAL_CASES 1
        mov     dword [SCRATCH], 0x12345678
        TRY     %1
        les     bx, [SCRATCH16]
        lfs     cx, [SCRATCH16]
        END
        EXPECT_OK
        CHECK_BITS32 [out_rbx], 0xffff, 0x5678
        CHECK_BITS32 [out_es], 0xffff, 0x1234
        CHECK_BITS32 [out_fs], 0xffff, 0x1234
        TRY     %1
        db      0xc5, 0xf8, 0x77        ; VZEROUPPER elsewhere
        END
        EXPECT  UD, NOERR
        TRY     %1
        db      0xc4, 0xc3, 0, 0, 0, 0
        END
        EXPECT  UD, NOERR
%endmacro
        REAL_CASES REAL
        REAL_CASES V86_0
        REAL_CASES V86_3
        TRY     PM32_0                  ; the register form
        db      0x0f, 0xb4, 0xc3
        END
        EXPECT  UD, NOERR
        TRY     PM32_0
        db      0x0f, 0xb2, 0xc3
        END
        EXPECT  UD, NOERR
        ; 64-bit mode has no LDS and LES; a fault in the second half of the operand changes nothing.
        GO_LONG
        POINTER 0x12345678, UDATA64
        TRY     L64_3
        lfs     ebx, [SCRATCH]
        END
        EXPECT_OK
        CHECK_EQ [out_rbx], 0x12345678
        CHECK_BITS32 [out_fs], 0xffff, UDATA64
        TRY     L64_0                   ; null for SS below ring 3
        mov     word [SCRATCH + 4], 0
        lss     ebx, [SCRATCH]
        END
        EXPECT_OK
        CHECK_EQ32 [out_ss], 0
        MAP64   TESTVA, FREE_PAGES | P_P | P_W | P_U
        MAP64   TESTVA + 0x1000, 0
        mov     rax, TESTVA + 0xffc
        mov     [in_rcx], rax
        mov     rax, 0x1111111111111111
        mov     [in_rbx], rax
        TRY     L64_3
        lgs     ebx, [rcx]
        END
        EXPECT  PF, 4
        CHECK_EQ [out_cr2], TESTVA + 0x1000
        CHECK_EQ [out_rbx], [in_rbx]
        TEST_END
