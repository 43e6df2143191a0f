; covers: MOV.sreg, sensitive.MOVSEG
; expects: MOV to a segment register checks type, privilege and presence, SS most strictly; CS cannot be loaded.
%include "prelude.inc"
%include "descriptors.inc"

; LOAD register, selector, vector (UD: accepted), error code.
%macro LOAD 4
        TRY     MODE
        mov     ecx, %2
        AT
        mov     %1, cx
        END
    %if %3 == UD
        EXPECT_OK
        CHECK_BITS32 [out_%1], 0xffff, %2
    %else
        EXPECT  %3, %4
    %endif
%endmacro
%macro DATA_CASES 1
        LOAD    %1, 0, UD, 0
        LOAD    %1, 3, UD, 0
    %if r0
        LOAD    %1, D_DATA, UD, 0
        LOAD    %1, D_CODE, UD, 0
    %else
        LOAD    %1, D_DATA, GP, D_DATA
        LOAD    %1, D_CODE, GP, D_CODE
    %endif
        LOAD    %1, D_DATA | 3, GP, D_DATA
        LOAD    %1, D_DATA3 | 3, UD, 0
        LOAD    %1, D_DATA3, UD, 0
        LOAD    %1, D_XO3 | 3, GP, D_XO3
        LOAD    %1, D_CONF | 3, UD, 0
        LOAD    %1, D_CONFXO, GP, D_CONFXO
        LOAD    %1, D_RO3, UD, 0
        LOAD    %1, D_NP3 | 3, NP, D_NP3
        LOAD    %1, D_TSS | 3, GP, D_TSS
        LOAD    %1, 0x1000, GP, 0x1000
        LOAD    %1, 4, GP, 4
%endmacro
%macro STACK_CASES 0
    %if r0
        LOAD    ss, D_DATA, UD, 0
        LOAD    ss, D_DATA3 | 3, GP, D_DATA3
        LOAD    ss, D_DATA | 3, GP, D_DATA
        LOAD    ss, D_NP3, GP, D_NP3
      %if IS_64(MODE)
        LOAD    ss, 0, UD, 0                            ; null SS is for 64-bit code below ring 3
      %else
        LOAD    ss, 0, GP, 0
      %endif
        LOAD    ss, 3, GP, 0                            ; qemu-deviates: accepts a null SS of another RPL
    %else
        LOAD    ss, D_DATA3 | 3, UD, 0
        LOAD    ss, D_DOWN3 | 3, UD, 0
        LOAD    ss, D_DATA3, GP, D_DATA3                ; RPL is not CPL
        LOAD    ss, D_DATA, GP, D_DATA
        LOAD    ss, D_RO3 | 3, GP, D_RO3
        LOAD    ss, D_CODE3 | 3, GP, D_CODE3
        LOAD    ss, D_NP3 | 3, SS_, D_NP3
        LOAD    ss, 0, GP, 0
        LOAD    ss, 3, GP, 0
    %endif
        LOAD    ss, 0x1003, GP, 0x1000
%endmacro
%macro CASES 1
    %define MODE %1
    %assign r0 (IS_RING3(%1) == 0)
        DATA_CASES ds
        STACK_CASES
        TRY     %1
        db      0x8e, 0xc9                              ; mov cs, cx
        END
        EXPECT  UD, NOERR
        TRY     %1
        db      0x8e, 0xf1                              ; segment register 6
        END
        EXPECT  UD, NOERR
%endmacro
        FILL_DESCRIPTORS
        OVER    CASES, PM16_3, PM32_0, PM32_3, C16_0, C32_3, L64_0, L64_3
        GO_LEGACY
%macro EXTRA 1
    %define MODE PM32_0
    %assign r0 1
        LOAD    %1, D_NP3, NP, D_NP3
        LOAD    %1, D_DATA | 1, GP, D_DATA
        LOAD    %1, D_DATA3 | 2, UD, 0
%endmacro
        EXTRA   es
        EXTRA   fs
        EXTRA   gs
        CHECK_BITS32 [GDT + D_DATA3 + 4], 0x100, 0x100  ; the load set the accessed bit
        CHECK_BITS32 [GDT + D_NP3 + 4], 0x100, 0
%macro ANYTHING 1
        TRY     %1
        mov     cx, 0xabcd
        mov     es, cx
        mov     ax, es
        mov     dx, cs
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xffff, 0xabcd
        CHECK_BITS32 [out_es], 0xffff, 0xabcd
        CHECK_BITS32 [out_rdx], 0xffff, IMAGE >> 4
%endmacro
        OVER    ANYTHING, REAL, V86_0, V86_3
        ; Stores: the word form to memory, zero extension to wide registers; the low bits of CS and SS show the ring.
        FILL_SCRATCH
        TRY     PM32_3
        mov     [SCRATCH], cs
        mov     eax, cs
        mov     edx, ss
        END
        EXPECT_OK
        CHECK_EQ32 [SCRATCH], 0x55550000 | UCODE32
        CHECK_EQ32 [out_rax], UCODE32
        CHECK_EQ32 [out_rdx], UDATA32
        TRY     L64_3
        mov     rax, cs
        mov     edx, ss
        mov     bx, cs
        END
        EXPECT_OK
        CHECK_EQ [out_rax], UCODE64
        CHECK_EQ [out_rdx], UDATA64
        CHECK_EQ [out_rbx], 0xb3b3b3b3b3b30000 + UCODE64
        TEST_END
