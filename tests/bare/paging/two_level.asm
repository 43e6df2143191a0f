; covers: paging.two_level, paging.pse, paging.pse36, paging.legacy_error_codes
; expects: 32-bit paging walks two levels, has no execute bit in error codes, and 4 MiB pages only with CR4.PSE.
%include "prelude.inc"

DIRECTORY equ FREE_TABLES
TABLE     equ FREE_TABLES + 0x1000
VA        equ 0x40000000
        mov     edi, DIRECTORY
        mov     eax, P_P | P_W | P_U | P_PS
        mov     ecx, 16
.map:   mov     [edi], eax
        add     edi, 4
        add     eax, 0x400000
        loop    .map
        mov     dword [DIRECTORY + (VA >> 22) * 4], TABLE | P_P | P_W | P_U
        mov     edi, FREE_PAGES
        mov     ecx, 1024
        mov     eax, 0xc3c3c3c3
        rep stosd
        CR      cr4, CR4_PSE, 0
        mov     eax, DIRECTORY
        mov     cr3, eax
        CR      cr0, CR0_PG, 0
        mov     dword [in_rbx], VA
%macro PTE 1
        mov     dword [TABLE], FREE_PAGES | (%1)
        invlpg  [VA]
%endmacro
%macro DENIED 3-*
        TRY     %1
        %{3:-1}
        END
        EXPECT  PF, %2
        CHECK_EQ [out_cr2], VA
%endmacro
%macro ALLOWED 2-*
        TRY     %1
        %{2:-1}
        END
        EXPECT_OK
%endmacro
        mov     dword [TABLE], 0
        invlpg  [VA]
        DENIED  PM32_0, 0, mov al, [ebx]
        DENIED  PM32_0, 2, mov [ebx], al
        DENIED  PM32_3, 4, mov al, [ebx]
        DENIED  PM32_3, 6, mov [ebx], al
        DENIED  PM32_3, 6, lock inc byte [ebx]  ; qemu-deviates: reports the read first
        DENIED  PM32_3, 6, xchg [ebx], al  ; qemu-deviates: reports the read first
        PTE     P_P
        ALLOWED PM32_0, mov al, [ebx]
        CHECK_BITS32 [TABLE], P_A | P_D, P_A
        ALLOWED PM32_0, mov [ebx], al
        CHECK_BITS32 [TABLE], P_A | P_D, P_A | P_D
        mov     byte [VA], 0xc3
        DENIED  PM32_3, 5, mov al, [ebx]
        DENIED  PM32_3, 7, mov [ebx], al
        TRY     PM32_3
        call    ebx
        END
        CHECK_EQ32 [out_vec], PF
        CHECK_EQ32 [out_err], 5                 ; no instruction bit without NX
        CHECK_EQ32 [out_rip], VA
        PTE     P_P | P_U
        ALLOWED PM32_3, call ebx
        DENIED  PM32_3, 7, mov [ebx], al
        CR      cr0, CR0_WP, 0
        DENIED  PM32_0, 3, mov [ebx], al
        CR      cr0, 0, CR0_WP
        ; Directory and table permissions combine.
        PTE     P_P | P_U | P_W
        and     dword [DIRECTORY + (VA >> 22) * 4], ~P_W
        mov     eax, cr3
        mov     cr3, eax
        DENIED  PM32_3, 7, mov [ebx], al
        and     dword [DIRECTORY + (VA >> 22) * 4], ~P_U
        mov     eax, cr3
        mov     cr3, eax
        DENIED  PM32_3, 5, mov al, [ebx]
        ALLOWED PM32_0, mov [ebx], al
        ; 4 MiB pages: offset of 22 bits, A and D in the directory, reserved bits 13..21 (PSE-36 gives 13 upwards meaning).
        mov     dword [FREE_PAGES + 0x3ff00c], 0x4badcafe
        mov     dword [DIRECTORY + (VA >> 22) * 4], FREE_PAGES | P_P | P_U | P_W | P_PS
        mov     eax, cr3
        mov     cr3, eax
        TRY     PM32_3
        mov     eax, [ebx + 0x3ff00c]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x4badcafe
        CHECK_BITS32 [DIRECTORY + (VA >> 22) * 4], P_A | P_D, P_A
        or      dword [DIRECTORY + (VA >> 22) * 4], 1 << 21
        mov     eax, cr3
        mov     cr3, eax
        DENIED  PM32_0, 9, mov al, [ebx]        ; qemu-deviates: P clear with a reserved bit
        DENIED  PM32_3, 0xf, mov [ebx], al      ; qemu-deviates: P clear with a reserved bit
        ; Without PSE bit 7 of a directory entry is ignored. The home map must not need it then.
        mov     edi, TABLE + 0x1000
        mov     eax, P_P | P_W | P_U
        mov     ecx, 1024
.small: mov     [edi], eax
        add     edi, 4
        add     eax, 0x1000
        loop    .small
        mov     dword [DIRECTORY], (TABLE + 0x1000) | P_P | P_W | P_U
        mov     dword [DIRECTORY + (VA >> 22) * 4], TABLE | P_P | P_U | P_W | P_PS
        CR      cr4, 0, CR4_PSE
        mov     eax, cr3
        mov     cr3, eax
        ALLOWED PM32_3, mov al, [ebx]
        ; V86 mode and 16-bit code go through the same tables; their faults are user faults.
        mov     dword [TABLE + 0x1000 + 0x7f * 4], 0
        invlpg  [0x7f000]
        TRY     V86_3
        mov     ax, 0x7f00
        mov     ds, ax
        AT
        mov     [0x12], al
        END
        EXPECT  PF, 6
        CHECK_EQ [out_cr2], 0x7f012
        ; An access above 4 GiB wraps in linear space: segment base plus offset.
        SET_DESC GDT + FREE_SEL, 0xfffff000, 0xfffff, A_UDATA, F_G | F_B
        mov     dword [SCRATCH], 0x77665544
        TRY     PM32_3
        mov     ecx, FREE_SEL | 3
        mov     ds, ecx
        mov     eax, [SCRATCH + 0x1000]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x77665544
        CR      cr0, 0, CR0_PG
        TEST_END
