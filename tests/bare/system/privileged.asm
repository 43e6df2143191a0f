; covers: LGDT, LIDT, LLDT, LTR, HLT, INVD, WBINVD, INVLPG, CLI, STI, privileged.legacy
; qemu-deviates: LTR of a null selector is accepted
; expects: privileged instructions are #GP(0) outside ring 0 in every mode; LLDT and LTR check their selector.
%include "prelude.inc"
%include "descriptors.inc"

%macro PRIVILEGED 1+
        TRY     MODE
        %1
        END
        EXPECT  GP, 0
%endmacro
%macro CASES 1
    %define MODE %1
        PRIVILEGED hlt
        PRIVILEGED invd
        PRIVILEGED wbinvd
        PRIVILEGED lgdt [MEM(SCRATCH)]
        PRIVILEGED lidt [MEM(SCRATCH)]
        PRIVILEGED invlpg [MEM(SCRATCH)]
        PRIVILEGED clts
        PRIVILEGED rdmsr
    %if IS_V86(%1)
        TRY     %1
        lldt    ax
        END
        EXPECT  UD, NOERR
        TRY     %1
        ltr     ax
        END
        EXPECT  UD, NOERR
    %else
        PRIVILEGED lldt ax
        PRIVILEGED ltr ax
    %endif
    %if %1 == V86_3
        TRY     %1
        cli
        END
        EXPECT_OK
    %else
        PRIVILEGED cli
        PRIVILEGED sti
    %endif
%endmacro
        OVER    CASES, V86_0, V86_3, PM16_3, PM32_3, C16_3, C32_3, L64_3
        ; With IOPL 3 ring 3 has CLI and STI.
        SET_FLAGS FL_IOPL3
        TRY     L64_3
        sti
        END
        EXPECT_OK
        EXPECT_FLAG FL_IF, FL_IF
        GO_LEGACY
        TRY     REAL
        lldt    ax
        END
        EXPECT  UD, NOERR
        TRY     REAL
        ltr     ax
        END
        EXPECT  UD, NOERR
        TRY     REAL
        cli
        invd
        o32 lgdt [gdtr_home]
        END
        EXPECT_OK
        TRY     PM32_0                          ; register operand
        db      0x0f, 0x01, 0xd8 | 7            ; 0f 01 /3 mod 3 is SVM space
        END
        EXPECT  UD, NOERR
        TRY     PM32_0
        db      0x0f, 0x01, 0xfa | 4            ; unassigned under /7
        END
        EXPECT  UD, NOERR

        FILL_DESCRIPTORS
%macro LOADS 4                  ; instruction, selector, vector (UD: fine), error code
        mov     dword [in_rcx], %2
        TRY     MODE
        %1      cx
        END
    %if %3 == UD
        EXPECT_OK
    %else
        EXPECT  %3, %4
    %endif
%endmacro
%macro SYSTEM_LOADS 1
    %define MODE %1
    %assign legacy (IS_LONG(%1) == 0)
        LOADS   lldt, 0, UD, 0
        LOADS   lldt, 3, UD, 0
        LOADS   lldt, D_LDT, UD, 0
        LOADS   lldt, D_LDT | 3, UD, 0          ; RPL and DPL do not matter
        LOADS   lldt, D_DATA, GP, D_DATA
        LOADS   lldt, D_TSS, GP, D_TSS
        LOADS   lldt, 4, GP, 4                  ; not in the GDT
        LOADS   lldt, 0x1000, GP, 0x1000
        and     byte [GDT + D_LDT + 5], 0x7f
        LOADS   lldt, D_LDT, NP, D_LDT
        or      byte [GDT + D_LDT + 5], 0x80
        LOADS   ltr, 0, GP, 0
        LOADS   ltr, 3, GP, 0
        LOADS   ltr, D_TSSB, GP, D_TSSB         ; busy
        LOADS   ltr, D_LDT, GP, D_LDT
        LOADS   ltr, D_DATA, GP, D_DATA
        LOADS   ltr, 4, GP, 4
        LOADS   ltr, 0x1000, GP, 0x1000
    %if legacy == 0
        LOADS   ltr, D_TSS16, GP, D_TSS16
    %endif
        and     byte [GDT + D_TSS + 5], 0x7f
        LOADS   ltr, D_TSS, NP, D_TSS
        or      byte [GDT + D_TSS + 5], 0x80
%endmacro
        SYSTEM_LOADS PM32_0
        SYSTEM_LOADS L64_0
        ; LTR marks the descriptor busy; the upper half of a 16-byte descriptor is the base, and its type must be 0.
        LOADS   ltr, TSS64_SEL, GP, TSS64_SEL   ; busy now
        mov     byte [GDT + TSS64_SEL + 5], A_TSS
        LOADS   ltr, TSS64_SEL, UD, 0
        CHECK_BITS32 [GDT + TSS64_SEL + 4], 0xff00, 0x8b00
        mov     byte [GDT + TSS64_SEL + 5], A_TSS
        mov     dword [GDT + TSS64_SEL + 12], 0x100
        LOADS   ltr, TSS64_SEL, GP, TSS64_SEL   ; bochs-deviates: names the selector otherwise; qemu-deviates: no check
        mov     dword [GDT + TSS64_SEL + 12], 0
        mov     byte [GDT + TSS64_SEL + 5], A_TSS
        mov     dword [GDT + TSS64_SEL + 8], 0x00010000
        LOADS   ltr, TSS64_SEL, GP, TSS64_SEL   ; qemu-deviates: no canonical check
        mov     dword [GDT + TSS64_SEL + 8], 0
        mov     byte [GDT + TSS64_SEL + 5], A_TSS
        LOADS   ltr, TSS64_SEL, UD, 0
        ; LGDT and LIDT of 64-bit code take ten bytes and refuse non-canonical bases.
        mov     word [SCRATCH], 0xfff
        mov     rax, 0x0000800000000000
        mov     [SCRATCH + 2], rax
        TRY     L64_0
        lgdt    [abs SCRATCH]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no canonical check
        TRY     L64_0
        lidt    [abs SCRATCH]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no canonical check
        ; Legacy LGDT with 16-bit operand size loads a 24-bit base.
        GO_LEGACY
        mov     dword [SCRATCH], 0xfff | GDT << 16
        mov     dword [SCRATCH + 4], 0xff00 | GDT >> 16
        TRY     PM32_0
        o16 lgdt [SCRATCH]
        sgdt    [SCRATCH + 16]
        END
        EXPECT_OK
        CHECK_BITS32 [SCRATCH + 18], 0xffffffff, GDT
        TEST_END
