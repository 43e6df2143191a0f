; covers: paging.smep, paging.smap, STAC, CLAC, paging.implicit
; expects: SMEP stops ring 0 fetches from user pages, SMAP its data accesses unless AC; implicit accesses ignore AC.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
        ; The home map gets supervisor-only copies: the image is needed by ring 0 code under SMEP, so make all of it supervisor.
        mov     ecx, 2048
        mov     edi, PD
.clear: and     dword [rdi], ~P_U
        add     rdi, 8
        loop    .clear
        mov     rax, cr3
        mov     cr3, rax
        MAP64   TESTVA, FREE_PAGES | P_P | P_W | P_U
        mov     dword [FREE_PAGES], 0xc3c3c3c3
        mov     rax, TESTVA
        mov     [in_rbx], rax
        NEED_OR F_SMEP, 'smep', no_smep
        TRY     L64_0
        call    rbx
        END
        EXPECT_OK
        CR      cr4, CR4_SMEP, 0
        TRY     L64_0
        call    rbx
        END
        CHECK_EQ32 [out_vec], PF
        CHECK_EQ32 [out_err], 0x11
        CHECK_EQ [out_rip], TESTVA
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT_OK
        CR      cr4, 0, CR4_SMEP
no_smep:
        NEED_OR F_SMAP, 'smap', done64
        TRY     L64_0
        stac
        END
        EXPECT_OK
        CR      cr4, CR4_SMAP, 0
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT  PF, 1
        CHECK_EQ [out_cr2], TESTVA
        TRY     L64_0
        mov     [rbx], al
        END
        EXPECT  PF, 3
        TRY     L64_0
        stac
        mov     [rbx], al
        clac
        AT
        mov     al, [rbx]
        END
        EXPECT  PF, 1
        SET_FLAGS FL_AC
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT_OK
        TRY     L64_0                           ; fetches are SMEP's business
        mov     byte [FREE_PAGES], 0xc3
        call    rbx
        END
        EXPECT_OK
        ; Implicit supervisor accesses: a descriptor table on a user page faults in spite of AC. It is the LDT,
        ; because delivering the fault needs the GDT.
        SET_DESC GDT + FREE_SEL, 0x800, 0xff, 0x82, 0
        SET_DESC_BASE_HIGH GDT + FREE_SEL, TESTVA >> 32
        mov     rax, [GDT + DATA32]
        mov     [FREE_PAGES + 0x808], rax
        mov     eax, FREE_SEL
        lldt    ax
        SET_FLAGS FL_AC
        TRY     L64_0
        mov     eax, 8 | 4
        AT
        mov     es, eax
        END
        EXPECT  PF, 1  ; qemu-deviates: AC opens implicit accesses in ring 0; bochs-deviates: the same
        CHECK_EQ [out_cr2], TESTVA + 0x808  ; qemu-deviates: AC opens implicit accesses in ring 0; bochs-deviates: the same
        xor     eax, eax
        lldt    ax
        ; STAC and CLAC outside ring 0 are #UD.
        CR      cr4, 0, CR4_SMAP
        mov     ecx, 2048
        mov     edi, PD
.user:  or      dword [rdi], P_U
        add     rdi, 8
        loop    .user
        mov     rax, cr3
        mov     cr3, rax
        TRY     L64_3
        stac
        END
        EXPECT  UD, NOERR
        TRY     L64_3
        clac
        END
        EXPECT  UD, NOERR
        TRY     C32_0
        stac
        END
        EXPECT_OK
        EXPECT_FLAG FL_AC, FL_AC
        GO_LONG
done64: TEST_END
