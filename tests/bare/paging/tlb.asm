; covers: paging.global, paging.pcid, INVLPG, INVPCID, paging.flush
; expects: each flushing operation makes the processor see new entries; contexts do not share non-global translations.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
        mov     dword [FREE_PAGES], 0x11111111
        mov     dword [FREE_PAGES + 0x1000], 0x22222222
        MAP64   TESTVA, FREE_PAGES | P_P | P_W | P_U
        mov     [entry], rax
        mov     rbx, TESTVA
        mov     [in_rbx], rbx
%macro POINT 1                  ; frame number; flags
        mov     rax, [entry]
        mov     dword [rax], (FREE_PAGES + (%1) * 0x1000) | P_P | P_W | P_U | GLOBAL
%endmacro
%macro SEES 1
        mov     eax, [rbx]
        CHECK_EQ32 eax, %1
%endmacro
%define GLOBAL 0
        SEES    0x11111111
        POINT   1
        invlpg  [rbx]
        SEES    0x22222222
        POINT   0
        mov     rax, cr3
        mov     cr3, rax
        SEES    0x11111111
        POINT   1
        invlpg  [rbx + 0xfff]                   ; any address of the page
        SEES    0x22222222
        TRY     L64_3
        invlpg  [rbx]
        END
        EXPECT  GP, 0
        mov     rax, 0x0000800000000000         ; a non-canonical operand is no fault
        mov     [in_rbx], rax
        TRY     L64_0
        invlpg  [rbx]
        END
        EXPECT_OK
        mov     [in_rbx], rbx
        ; Global pages.
        CR      cr4, CR4_PGE, 0
%define GLOBAL P_G
        POINT   0
        invlpg  [rbx]
        SEES    0x11111111
        POINT   1
        invlpg  [rbx]                           ; flushes global entries, too
        SEES    0x22222222
        POINT   0
        CR      cr4, 0, CR4_PGE                 ; a change of PGE flushes everything
        SEES    0x11111111
        CR      cr4, CR4_PGE, 0
        POINT   1
        CR      cr4, 0, CR4_PGE
        CR      cr4, CR4_PGE, 0
        SEES    0x22222222
        POINT   0
        invlpg  [rbx]
        SEES    0x11111111
        ; A permission that grew: a spurious fault is allowed until the flush only.
        mov     rax, [entry]
        mov     dword [rax], FREE_PAGES | P_P
        invlpg  [rbx]
        mov     rax, [entry]
        or      dword [rax], P_W | P_U
        invlpg  [rbx]
        TRY     L64_3
        mov     [rbx], eax
        END
        EXPECT_OK
        mov     dword [FREE_PAGES], 0x11111111
        CR      cr4, 0, CR4_PGE
%define GLOBAL 0

        NEED_OR F_PCID, 'pcid', no_pcid
        mov     rbx, TESTVA
        ; PCIDE needs CR3[11:0] = 0.
        mov     rax, cr3
        or      eax, 8
        mov     cr3, rax
        TRY     L64_0
        mov     rax, cr4
        or      eax, CR4_PCIDE
        AT
        mov     cr4, rax
        END
        EXPECT  GP, 0
        mov     eax, PML4
        mov     cr3, rax
        CR      cr4, CR4_PCIDE, 0
        ; A second address space at FREE_TABLES + 0x20000, differing in the test page.
        mov     rsi, PML4
        mov     edi, FREE_TABLES + 0x20000
        mov     ecx, 512
        rep movsq
        mov     qword [FREE_TABLES + 0x20008], FREE_TABLES + 0x21000 + P_P + P_W + P_U
        mov     qword [FREE_TABLES + 0x21000], FREE_TABLES + 0x22000 + P_P + P_W + P_U
        mov     qword [FREE_TABLES + 0x22000], FREE_TABLES + 0x23000 + P_P + P_W + P_U
        mov     qword [FREE_TABLES + 0x23000], FREE_PAGES + 0x1000 + P_P + P_W + P_U
        POINT   0
        mov     eax, PML4 | 1
        mov     cr3, rax
        SEES    0x11111111
        mov     eax, (FREE_TABLES + 0x20000) | 2
        mov     cr3, rax
        SEES    0x22222222
        mov     eax, PML4 | 1
        bts     rax, 63                         ; without flush
        mov     cr3, rax
        SEES    0x11111111
        mov     rax, cr3
        CHECK_EQ rax, PML4 | 1                  ; bit 63 is not kept
        mov     eax, (FREE_TABLES + 0x20000) | 2
        bts     rax, 63
        mov     cr3, rax
        SEES    0x22222222
        ; INVLPG affects the current context; here that is enough.
        mov     qword [FREE_TABLES + 0x23000], FREE_PAGES + P_P + P_W + P_U
        invlpg  [rbx]
        SEES    0x11111111
        mov     qword [FREE_TABLES + 0x23000], FREE_PAGES + 0x1000 + P_P + P_W + P_U
        mov     rax, cr3
        mov     cr3, rax                        ; flushes this PCID
        SEES    0x22222222
        ; Clearing PCIDE in another context than 0 is allowed; bits 11:0 stay and mean caching again.
        NEED_OR F_INVPCID, 'invpcid', no_invpcid
        mov     rbx, TESTVA
%macro INVPCID_OK 3             ; type, pcid, address
        mov     qword [SCRATCH], %2
        mov     rax, %3
        mov     [SCRATCH + 8], rax
        mov     eax, %1
        invpcid rax, [SCRATCH]
%endmacro
        mov     qword [FREE_TABLES + 0x23000], FREE_PAGES + P_P + P_W + P_U
        INVPCID_OK 0, 2, TESTVA
        SEES    0x11111111
        mov     qword [FREE_TABLES + 0x23000], FREE_PAGES + 0x1000 + P_P + P_W + P_U
        INVPCID_OK 1, 2, 0
        SEES    0x22222222
        mov     qword [FREE_TABLES + 0x23000], FREE_PAGES + P_P + P_W + P_U
        INVPCID_OK 2, 0, 0
        SEES    0x11111111
        mov     qword [FREE_TABLES + 0x23000], FREE_PAGES + 0x1000 + P_P + P_W + P_U
        INVPCID_OK 3, 0, 0
        SEES    0x22222222
        ; Another context's page, then a switch there without flush.
        mov     eax, PML4 | 1
        bts     rax, 63
        mov     cr3, rax
        POINT   1
        mov     eax, (FREE_TABLES + 0x20000) | 2
        bts     rax, 63
        mov     cr3, rax
        INVPCID_OK 0, 1, TESTVA
        mov     eax, PML4 | 1
        bts     rax, 63
        mov     cr3, rax
        SEES    0x22222222
%macro INVPCID_BAD 3
        mov     rax, %2
        mov     [SCRATCH], rax
        mov     rax, %3
        mov     [SCRATCH + 8], rax
        mov     qword [in_rax], %1
        TRY     L64_0
        invpcid rax, [SCRATCH]
        END
        EXPECT  GP, 0
%endmacro
        INVPCID_BAD 4, 0, 0
        INVPCID_BAD 0, 0x1000, 0
        INVPCID_BAD 2, 0x1000000000, 0
        INVPCID_BAD 0, 1, 0x0000800000000000
        TRY     L64_3
        invpcid rax, [SCRATCH]
        END
        EXPECT  GP, 0
no_invpcid:
        mov     eax, PML4
        mov     cr3, rax
        CR      cr4, 0, CR4_PCIDE
        jmp     no_pcid
entry:  dq      0
no_pcid: TEST_END
