; covers: paging.1g, paging.2m, paging.alias
; expects: 1 GiB pages translate 30 bits, refuse reserved bits, and alias mappings of a frame see each other's writes.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
        NEED_OR F_1G, '1 GiB pages', aliases
        mov     qword [PML4 + 2 * 8], FREE_TABLES + 0x8000 + P_P + P_W + P_U
        mov     qword [FREE_TABLES + 0x8000], P_P | P_W | P_U | P_PS
        mov     dword [FREE_PAGES + 0x123450], 0x1badcafe
        mov     rax, 0x10000000000 + FREE_PAGES + 0x123450
        mov     [in_rbx], rax
        TRY     L64_3
        mov     eax, [rbx]
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 0x1badcafe
        CHECK_BITS32 [FREE_TABLES + 0x8000], P_A | P_D, P_A
        TRY     L64_3
        mov     [rbx], rax
        END
        CHECK_BITS32 [FREE_TABLES + 0x8000], P_A | P_D, P_A | P_D
        or      dword [FREE_TABLES + 0x8000], 1 << 20
        mov     rax, cr3
        mov     cr3, rax
        TRY     L64_3
        mov     eax, [rbx]
        END
        EXPECT  PF, 0xd                         ; qemu-deviates: P clear with a reserved bit
aliases:
        MAP64   TESTVA, FREE_PAGES | P_P | P_W | P_U
        MAP64   TESTVA + 0x1000, FREE_PAGES | P_P | P_U
        mov     rax, TESTVA
        mov     [in_rbx], rax
        TRY     L64_3
        mov     dword [rbx + 0x10], 0x01020304
        mov     ecx, [rbx + 0x1010]
        mov     dword [rbx + 0x10], 0x05060708
        mov     edx, [rbx + 0x1010]
        END
        EXPECT_OK
        CHECK_EQ [out_rcx], 0x01020304
        CHECK_EQ [out_rdx], 0x05060708
        CHECK_EQ32 [FREE_PAGES + 0x10], 0x05060708
        TRY     L64_3
        AT
        mov     [rbx + 0x1010], al
        END
        EXPECT  PF, 7
        TEST_END
