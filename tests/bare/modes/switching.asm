; covers: modes.real_protected, modes.long, modes.compat, modes.efer_lma
; expects: every documented path between real, protected, compatibility and 64-bit mode works and shows in EFER and CR0.
%include "prelude.inc"

        ; Real mode and back, twice, with a 32-bit operand far jump and hidden segment state surviving in between.
%macro ROUND_TRIP 0
        TRY     REAL
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        mov     cx, cs                          ; still the real mode selector
        jmp     CODE16:%%pm - image_start
%%pm:   mov     dx, cs
        mov     eax, cr0
        and     al, 0xfe
        mov     cr0, eax
        jmp     (IMAGE >> 4):%%rm - image_start
%%rm:   mov     bx, cs
        END
        EXPECT_OK
        CHECK_BITS32 [out_rcx], 0xffff, IMAGE >> 4
        CHECK_BITS32 [out_rdx], 0xffff, CODE16
        CHECK_BITS32 [out_rbx], 0xffff, IMAGE >> 4
%endmacro
        ROUND_TRIP
        ROUND_TRIP
        ; LMA follows LME and PG.
        RDMSR_  MSR_EFER
        CHECK_BITS32 eax, EFER_LMA | EFER_LME, 0
        GO_LONG
        RDMSR_  MSR_EFER
        CHECK_BITS32 eax, EFER_LMA | EFER_LME, EFER_LMA | EFER_LME
        GO_LEGACY
        RDMSR_  MSR_EFER
        CHECK_BITS32 eax, EFER_LMA | EFER_LME, 0
        ; LME without paging does nothing yet; LMA is set by PG; straight into 64-bit mode by a far jump.
        RDMSR_  MSR_EFER
        or      eax, EFER_LME
        wrmsr
        RDMSR_  MSR_EFER
        CHECK_BITS32 eax, EFER_LMA | EFER_LME, EFER_LME
        and     eax, ~EFER_LME
        wrmsr
        ; Compatibility to 64-bit mode and back with far jumps in one snippet.
        mov     dword [SCRATCH], to_compat
        mov     word [SCRATCH + 4], CODE32
        TRY     C32_0
        mov     eax, -1
        inc     eax                             ; 0x40 prefixes are INC here
        db      0x40
        nop
        jmp     CODE64:to_long
    bits 64
to_long:
        mov     rbx, 0x123456789abcdef0
        mov     rcx, rbx
        db      0x40                            ; and REX there
        nop
        jmp     dword far [SCRATCH]
    bits 32
to_compat:
        mov     edx, cs
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 1
        CHECK_EQ32 [out_rcx], 0x9abcdef0        ; upper halves need not survive. SDM 1 3.4.1.1
        CHECK_EQ [out_rdx], CODE32
        ; Compatibility mode addresses wrap at 4 GiB; 64-bit mode RIP-relative addressing is ModRM 5.
        TRY     L64_0
        lea     rax, [rel $]
        mov     rcx, -1
        lea     edx, [rcx + 2]
        lea     rbx, [ecx + 2]
        END
        EXPECT_OK
        CHECK_EQ [out_rax], LAST_AT
        CHECK_EQ [out_rdx], 1
        CHECK_EQ [out_rbx], 1
        ; The upper halves of general registers are untouched by a trip through compatibility ring 3.
        TRY     C16_3
        mov     ax, cs
        END
        EXPECT_OK
        CHECK_EQ [out_r8], [in_r8]
        CHECK_EQ [out_r15], [in_r15]
        ; EFER.LME cannot be cleared with PG set; PAE neither (see system/control_registers).
        GO_LEGACY
        ; Operand and address size defaults per mode: the same bytes 66 B8 / B8.
%macro SIZE 2
        TRY     %1
        db      0xb8, 1, 0                      ; mov (e)ax, imm: eats 2 or 4 more bytes
        db      0x90, 0x90
        nop
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], %2
%endmacro
        SIZE    REAL, 0xa0a00001
        SIZE    V86_3, 0xa0a00001
        SIZE    PM16_0, 0xa0a00001
        SIZE    PM32_0, 0x90900001
        SIZE    C16_3, 0xa0a00001
        SIZE    C32_3, 0x90900001
        SIZE    L64_3, 0x90900001
        TEST_END
