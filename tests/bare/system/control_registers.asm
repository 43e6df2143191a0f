; covers: MOV.cr, CLTS, LMSW, SMSW, control.cr0, control.cr3, control.cr4, control.cr8
; qemu-deviates: no checks of CR0
; expects: illegal combinations and reserved bits of CR0, CR3, CR4 and CR8 are #GP(0) and change nothing.
%include "prelude.inc"

        GO_LONG
%macro REFUSED 2                ; register, value
        mov     rax, %2
        mov     [in_rax], rax
        mov     rbx, %1
        TRY     L64_0
        mov     %1, rax
        END
        EXPECT  GP, 0
        mov     rcx, %1
        CHECK_EQ rcx, rbx
%endmacro
%macro REFUSED_OR 2
        mov     rcx, %1
        mov     rdx, %2
        or      rcx, rdx
        REFUSED %1, rcx
%endmacro
        ; CR0: PG without PE, NW without CD, high half, dropping PG in 64-bit mode.
        REFUSED cr0, CR0_PG | CR0_ET | CR0_NE           ; qemu-deviates: no check
        REFUSED_OR cr0, CR0_NW                          ; qemu-deviates: no check
        REFUSED_OR cr0, 0x100000000                     ; qemu-deviates: no check
        REFUSED cr0, CR0_PE | CR0_ET | CR0_NE           ; qemu-deviates: no check
        ; CR4: reserved bits; PAE off and LA57 change in long mode; PCIDE with PCID bits in CR3.
        REFUSED_OR cr4, 0x8000000000000000              ; qemu-deviates: no check
        REFUSED_OR cr4, 0x100000000                     ; qemu-deviates: no check
        REFUSED_OR cr4, 0x80000000                      ; qemu-deviates: no check
        REFUSED cr4, 0
        ; CR3: bits above the physical address width.
        REFUSED_OR cr3, 0x0010000000000000
        ; CR8 has four bits.
        REFUSED cr8, 16                                 ; qemu-deviates: no check
        mov     eax, 9
        mov     cr8, rax
        mov     rcx, cr8
        CHECK_EQ rcx, 9
        xor     eax, eax
        mov     cr8, rax
        ; Control registers that do not exist.
%macro NO_REGISTER 1+
        TRY     L64_0
        db      %1
        END
        EXPECT  UD, NOERR
%endmacro
        NO_REGISTER 0x0f, 0x20, 0xc8            ; cr1
        NO_REGISTER 0x0f, 0x20, 0xe8            ; cr5
        NO_REGISTER 0x0f, 0x22, 0xf8            ; cr7
        NO_REGISTER 0x44, 0x0f, 0x20, 0xc8      ; cr9
        NO_REGISTER 0x44, 0x0f, 0x22, 0xf8      ; cr15
        NO_REGISTER 0xf0, 0x0f, 0x20, 0xd0      ; lock mov rax, cr2: CR8 only on AMD
        ; The mod field of MOV CR is ignored.
        TRY     L64_0
        db      0x0f, 0x20, 0x10                ; mov rax, cr2 with mod = 0
        nop
        END
        EXPECT_OK
        mov     rax, 0x123456789abcdef0
        mov     cr2, rax
        mov     rbx, cr2
        CHECK_EQ rbx, rax
        ; ET is fixed.
        mov     rax, cr0
        and     eax, ~CR0_ET
        mov     cr0, rax
        mov     rax, cr0
        CHECK_BITS32 eax, CR0_ET, CR0_ET
        ; CLTS, LMSW.
        CR      cr0, CR0_TS, 0
        clts
        mov     rax, cr0
        CHECK_BITS32 eax, CR0_TS, 0
        mov     eax, 0xfffe
        lmsw    ax                              ; sets MP, EM, TS; cannot clear PE
        mov     rax, cr0
        CHECK_EQ rax, CR0_PG + HOME_CR0 + CR0_MP + CR0_EM + CR0_TS
        xor     eax, eax
        lmsw    ax
        mov     rax, cr0
        CHECK_EQ rax, CR0_PG + HOME_CR0
%macro PRIVILEGED 2-*
        TRY     %1
        %{2:-1}
        END
        EXPECT  GP, 0
%endmacro
        PRIVILEGED C32_3, mov eax, cr0
        PRIVILEGED C32_3, mov cr4, eax
        PRIVILEGED C32_3, clts
        PRIVILEGED C32_3, lmsw ax
        GO_LEGACY
        PRIVILEGED V86_3, mov eax, cr0
        PRIVILEGED V86_3, clts
        PRIVILEGED V86_3, lmsw ax
        PRIVILEGED PM32_3, mov eax, cr2
        PRIVILEGED PM16_3, mov cr3, eax
        TRY     PM32_0
        mov     eax, CR0_PG | CR0_ET
        AT
        mov     cr0, eax
        END
        EXPECT  GP, 0                           ; qemu-deviates: no check
        TRY     PM32_0                          ; long mode without PAE
        mov     ecx, MSR_EFER
        rdmsr
        or      eax, EFER_LME
        wrmsr
        mov     eax, HOME_CR0 | CR0_PG
        AT
        mov     cr0, eax
        END
        EXPECT  GP, 0                           ; qemu-deviates: no check
        RDMSR_  MSR_EFER
        CHECK_BITS32 eax, EFER_LMA, 0           ; qemu-deviates: no check
        and     eax, ~EFER_LME
        wrmsr
        ; A register that does not exist is #UD at any privilege level.
        TRY     PM32_3
        db      0x0f, 0x20, 0xc8                ; mov eax, cr1
        END
        EXPECT  UD, NOERR                       ; qemu-deviates: privilege first
        TRY     PM32_0
        db      0x0f, 0x22, 0xe8                ; mov cr5, eax
        END
        EXPECT  UD, NOERR
        ; LMSW can set PE in real mode.
        TRY     REAL
        clts
        mov     eax, cr0
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], CR0_TS | CR0_PE, 0
        TRY     REAL
        mov     ax, 0x21
        lmsw    ax
        jmp     CODE16:.in_pm - image_start
.in_pm: smsw    ax
        and     al, 1
        mov     dx, cs
        mov     eax, cr0
        and     al, 0xfe
        mov     cr0, eax
        jmp     (IMAGE >> 4):.in_real - image_start
.in_real:
        END
        EXPECT_OK
        CHECK_BITS32 [out_rdx], 0xffff, CODE16
        TEST_END
