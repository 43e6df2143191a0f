; covers: paging.la57, paging.five_level, exceptions.noncanonical57
; expects: with CR4.LA57 addresses have 57 bits and five levels; the bit cannot change in long mode.
%include "prelude.inc"

        NEED    F_LA57, 'la57'
        GO_LONG
        TRY     L64_0
        mov     rax, cr4
        or      eax, CR4_LA57
        AT
        mov     cr4, rax
        END
        EXPECT  GP, 0
        mov     rax, 0x0000800000000000
        mov     [in_rbx], rax
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT  GP, 0
        GO_LEGACY
        mov     dword [home_cr4], CR4_PAE | CR4_LA57
        mov     dword [home_cr3], PML5
        ; PML5 entry 1 and PML4 entry 511 of it lead to a page.
        mov     dword [PML5 + 8], FREE_TABLES | P_P | P_W | P_U
        mov     dword [FREE_TABLES + 511 * 8], (FREE_TABLES + 0x1000) | P_P | P_W | P_U
        mov     dword [FREE_TABLES + 0x1000], (FREE_TABLES + 0x2000) | P_P | P_W | P_U
        mov     dword [FREE_TABLES + 0x2000], (FREE_TABLES + 0x3000) | P_P | P_W | P_U
        mov     dword [FREE_TABLES + 0x3000], FREE_PAGES | P_P | P_W | P_U
        mov     dword [FREE_PAGES + 8], 0x57575757
        GO_LONG
        mov     rax, 0x0001ff8000000008         ; PML5 index 1, PML4 index 511
        mov     [in_rbx], rax
        TRY     L64_3
        mov     eax, [rbx]
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 0x57575757
        CHECK_BITS32 [PML5 + 8], P_A, P_A
        mov     rax, 0x0000800000000000         ; canonical now, not mapped
        mov     [in_rbx], rax
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT  PF, 0
        CHECK_EQ [out_cr2], [in_rbx]
        mov     rax, 0x00ffffffffffffff
        mov     [in_rbx], rax
        TRY     L64_3
        mov     al, [rbx]
        END
        EXPECT  PF, 4
        mov     rax, 0x0100000000000000         ; bit 56 set, not extended
        mov     [in_rbx], rax
        TRY     L64_3
        mov     al, [rbx]
        END
        EXPECT  GP, 0
        mov     rax, 0xff00000000000000         ; the negative half begins here
        mov     [in_rbx], rax
        TRY     L64_3
        mov     al, [rbx]
        END
        EXPECT  PF, 4
        ; Address registers take 57-bit values.
        WRMSR_  MSR_KERNEL_GS_BASE, 0, 0x00ff0000
        RDMSR_  MSR_KERNEL_GS_BASE
        CHECK_EQ32 edx, 0x00ff0000
        ; PS and reserved bits of a PML5 entry.
        or      dword [PML5 + 8], P_PS
        mov     rax, cr3
        mov     cr3, rax
        mov     rax, 0x0001ff8000000008
        mov     [in_rbx], rax
        TRY     L64_3
        mov     al, [rbx]
        END
        EXPECT  PF, 0xd                         ; qemu-deviates: P clear with a reserved bit
        and     dword [PML5 + 8], ~P_PS
        and     dword [PML5 + 8], ~P_U
        mov     rax, cr3
        mov     cr3, rax
        TRY     L64_3
        mov     al, [rbx]
        END
        EXPECT  PF, 5
        TRY     L64_0
        mov     rax, cr4
        and     eax, ~CR4_LA57
        AT
        mov     cr4, rax
        END
        EXPECT  GP, 0
        GO_LEGACY
        mov     dword [home_cr4], CR4_PAE
        mov     dword [home_cr3], PML4
        GO_LONG
        mov     rax, 0x0000800000000000
        mov     [in_rbx], rax
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT  GP, 0
        TEST_END
