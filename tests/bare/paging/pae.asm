; covers: paging.pae, paging.pdpte, paging.pae_nx
; expects: PAE loads four PDPTEs at MOV to CR3 and checks their reserved bits then; entries are 64 bits wide with NX.
%include "prelude.inc"

POINTERS  equ FREE_TABLES + 0x20        ; 32-byte aligned only
DIRECTORY equ FREE_TABLES + 0x1000
TABLE     equ FREE_TABLES + 0x2000
OTHER     equ FREE_TABLES + 0x3000
VA        equ 0x40000000
        mov     edi, DIRECTORY
        mov     eax, P_P | P_W | P_U | P_PS
        mov     ecx, 32
.map:   mov     [edi], eax
        mov     dword [edi + 4], 0
        add     edi, 8
        add     eax, 0x200000
        loop    .map
        mov     dword [POINTERS], DIRECTORY | P_P
        mov     dword [POINTERS + 8], (DIRECTORY + 0x3000) | P_P
        mov     dword [DIRECTORY + 0x3000], TABLE | P_P | P_W | P_U
        mov     edi, FREE_PAGES
        mov     ecx, 1024
        mov     eax, 0xc3c3c3c3
        rep stosd
        CR      cr4, CR4_PAE, 0
        mov     eax, POINTERS
        mov     cr3, eax
        CR      cr0, CR0_PG, 0
        mov     dword [in_rbx], VA
%macro PTE 1-2 0
        mov     dword [TABLE], FREE_PAGES | (%1)
        mov     dword [TABLE + 4], %2
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
        PTE     0
        DENIED  PM32_3, 4, mov al, [ebx]
        DENIED  PM32_0, 2, mov [ebx], al
        PTE     P_P | P_U
        ALLOWED PM32_3, call ebx
        DENIED  PM32_3, 7, mov [ebx], al
        CHECK_BITS32 [TABLE], P_A | P_D, P_A
        PTE     P_P | P_U | P_W
        ALLOWED PM32_3, mov [ebx], al
        CHECK_BITS32 [TABLE], P_A | P_D, P_A | P_D
        ; NX is reserved without EFER.NXE.
        PTE     P_P | P_U | P_W, 0x80000000
        DENIED  PM32_0, 9, mov al, [ebx]                ; qemu-deviates: P clear with a reserved bit
        RDMSR_  MSR_EFER
        or      eax, EFER_NXE
        wrmsr
        mov     eax, cr3
        mov     cr3, eax
        ALLOWED PM32_3, mov al, [ebx]
        TRY     PM32_3
        call    ebx
        END
        CHECK_EQ32 [out_vec], PF
        CHECK_EQ32 [out_err], 0x15
        CHECK_EQ32 [out_cr2], VA
        PTE     P_P | P_W, 0x80000000
        TRY     PM32_0
        call    ebx
        END
        CHECK_EQ32 [out_err], 0x11
        ; With NXE a plain fetch fault also has the instruction bit.
        PTE     0
        TRY     PM32_3
        call    ebx
        END
        CHECK_EQ32 [out_err], 0x14
        ; Reserved address bits.
        PTE     P_P | P_U | P_W, 0x00100000
        DENIED  PM32_3, 0xd, mov al, [ebx]              ; qemu-deviates: P clear with a reserved bit
        PTE     P_P | P_U | P_W
        ALLOWED PM32_3, mov al, [ebx]
        ; PDPTEs are registers: a change in memory counts at the next MOV to CR3 only.
        mov     dword [POINTERS + 8], 0
        invlpg  [VA]
        ALLOWED PM32_3, mov al, [ebx]                   ; qemu-deviates: reads the entry on each walk
        mov     eax, cr3
        mov     cr3, eax
        DENIED  PM32_3, 4, mov al, [ebx]
        ; Reserved bits of a present PDPTE: #GP(0) at MOV to CR3, which then changes nothing.
%macro BAD_POINTER 2
        mov     dword [POINTERS + 8], (DIRECTORY + 0x3000) | P_P | (%1)
        mov     dword [POINTERS + 12], %2
        mov     dword [in_rax], POINTERS
        TRY     PM32_0
        mov     cr3, eax
        END
        EXPECT  GP, 0                                   ; qemu-deviates: not checked
%endmacro
        BAD_POINTER P_W, 0
        BAD_POINTER P_U, 0
        BAD_POINTER 0x20, 0
        BAD_POINTER 0x80, 0
        BAD_POINTER 0x100, 0
        BAD_POINTER 0, 0x80000000
        BAD_POINTER 0, 0x00100000
        mov     dword [POINTERS + 12], 0
        mov     dword [POINTERS + 8], (DIRECTORY + 0x3000) | 0xe00 | P_P       ; ignored bits
        TRY     PM32_0
        mov     cr3, eax
        END
        EXPECT_OK
        mov     dword [POINTERS + 8], 0x1fe                     ; not present: nothing is checked
        TRY     PM32_0
        mov     cr3, eax
        END
        EXPECT_OK
        mov     dword [POINTERS + 8], (DIRECTORY + 0x3000) | P_P
        mov     eax, POINTERS
        mov     cr3, eax
        ; 2 MiB pages need no PSE; bits 13..20 are reserved.
        mov     dword [DIRECTORY + 0x3000], FREE_PAGES | P_P | P_W | P_U | P_PS
        mov     dword [FREE_PAGES + 0x1ff010], 0x2badcafe
        mov     eax, cr3
        mov     cr3, eax
        TRY     PM32_3
        mov     eax, [ebx + 0x1ff010]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x2badcafe
        or      dword [DIRECTORY + 0x3000], 1 << 13
        mov     eax, cr3
        mov     cr3, eax
        DENIED  PM32_3, 0xd, mov al, [ebx]              ; qemu-deviates: P clear with a reserved bit
        CR      cr0, 0, CR0_PG
        RDMSR_  MSR_EFER
        and     eax, ~EFER_NXE
        wrmsr
        TEST_END
