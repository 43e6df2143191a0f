; covers: paging.four_level, paging.error_codes, paging.accessed_dirty, paging.nx, paging.wp, paging.user, INVLPG
; expects: every denied access gives #PF with the exact code and CR2, and A and D bits appear as accesses happen.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
%define VA TESTVA
        mov     rax, VA
        mov     [in_rbx], rax
        mov     [in_rax], rax
; PTE flags: of the test page (which holds RET instructions).
        mov     edi, FREE_PAGES
        mov     eax, 0xc3c3c3c3
        mov     ecx, 1024
        rep stosd
%macro PTE 1
        MAP64   VA, FREE_PAGES | (%1)
        mov     [entry], rax
%endmacro
%macro DENIED 3-*               ; mode, error code, instruction
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
%macro FETCH 3                  ; mode, vector, error code: a call to the page; faults there
        TRY     %1
        call    rbx
        END
    %if %2 == PF
        CHECK_EQ32 [out_vec], PF
        CHECK_EQ32 [out_err], %3
        CHECK_EQ [out_cr2], VA
        CHECK_EQ [out_rip], VA
    %else
        EXPECT_OK
    %endif
%endmacro
%macro CHECK_AD 1
        mov     rbx, [entry]
        CHECK_BITS32 [rbx], P_A | P_D, %1
%endmacro
        PTE     0
        DENIED  L64_0, 0, mov al, [rbx]
        DENIED  L64_0, 2, mov [rbx], al
        DENIED  L64_3, 4, mov al, [rbx]
        DENIED  L64_3, 6, mov [rbx], al
        DENIED  L64_3, 6, inc byte [rbx]        ; read-modify-write faults as a write; qemu-deviates: reports the read first
        DENIED  L64_3, 6, xchg [rbx], al  ; qemu-deviates: reports the read first
        DENIED  L64_3, 6, lock cmpxchg [rbx], dl  ; qemu-deviates: reports the read first
        DENIED  L64_3, 6, add [rbx], al  ; qemu-deviates: reports the read first
        DENIED  L64_3, 4, cmp [rbx], al
        PTE     P_P
        ALLOWED L64_0, mov al, [rbx]
        CHECK_AD P_A
        DENIED  L64_3, 5, mov al, [rbx]
        DENIED  L64_3, 7, mov [rbx], al
        ALLOWED L64_0, mov [rbx], al            ; CR0.WP clear: ring 0 writes anywhere
        CHECK_AD P_A | P_D
        FETCH   L64_3, PF, 0x15
        FETCH   L64_0, UD, 0
        PTE     P_P | P_U
        FETCH   L64_3, UD, 0
        CHECK_AD P_A
        DENIED  L64_3, 7, mov [rbx], al
        DENIED  L64_3, 7, inc byte [rbx]
        CHECK_AD P_A
        CR      cr0, CR0_WP, 0  ; qemu-deviates: reports the read first
        DENIED  L64_0, 3, mov [rbx], al
        CHECK_AD P_A
        CR      cr0, 0, CR0_WP
        PTE     P_P | P_U | P_W
        ALLOWED L64_3, mov [rbx], al
        CHECK_AD P_A | P_D
        mov     byte [FREE_PAGES], 0xc3
        ; Execute disable.
        PTE     P_P | P_U | P_NX
        FETCH   L64_3, PF, 0x15
        FETCH   L64_0, PF, 0x11
        ALLOWED L64_3, mov al, [rbx]
        RDMSR_  MSR_EFER
        and     eax, ~EFER_NXE
        wrmsr
        mov     rax, VA
        invlpg  [rax]
        mov     rax, [in_rax]
        DENIED  L64_3, 0xd, mov al, [rbx]       ; NX is reserved then; qemu-deviates: P clear with a reserved bit
        DENIED  L64_0, 9, mov al, [rbx]  ; qemu-deviates: P clear with a reserved bit
        RDMSR_  MSR_EFER  ; qemu-deviates: P clear with a reserved bit
        or      eax, EFER_NXE
        wrmsr
        ; Reserved bits of a large page entry, and of physical addresses too wide.
        PTE     P_P | P_U | P_W | 0x0008000000000000
        DENIED  L64_3, 0xd, mov al, [rbx]  ; qemu-deviates: P clear with a reserved bit
        DENIED  L64_0, 0xb, mov [rbx], al  ; qemu-deviates: P clear with a reserved bit
        DENIED  L64_3, 0xf, mov [rbx], al  ; qemu-deviates: P clear with a reserved bit
        ; The permissions of all levels combine.
        PTE     P_P | P_U | P_W
%macro UPPER 2                  ; PML4 entry bits cleared, bits restored
        mov     eax, %1
        not     rax
        and     [PML4 + 8], rax
        mov     rax, cr3
        mov     cr3, rax
%endmacro
        UPPER   P_W, 0
        DENIED  L64_3, 7, mov [rbx], al
        or      qword [PML4 + 8], P_W
        UPPER   P_U, 0
        DENIED  L64_3, 5, mov al, [rbx]
        or      qword [PML4 + 8], P_U
        UPPER   P_P, 0
        DENIED  L64_3, 4, mov al, [rbx]
        or      qword [PML4 + 8], P_P
        bts     qword [PML4 + 8], 63
        mov     rax, cr3
        mov     cr3, rax
        FETCH   L64_3, PF, 0x15
        btr     qword [PML4 + 8], 63
        or      qword [PML4 + 8], P_PS          ; PS is reserved in a PML4 entry
        mov     rax, cr3
        mov     cr3, rax
        DENIED  L64_3, 0xd, mov al, [rbx]  ; qemu-deviates: P clear with a reserved bit
        and     qword [PML4 + 8], ~P_PS
        mov     rax, cr3
        mov     cr3, rax
        ; A walk sets the accessed bits of all levels, even when the access is to the last only.
        CHECK_BITS32 [PML4 + 8], P_A, P_A
        ; A stale entry is not used after INVLPG, and a not-present entry is never cached.
        PTE     0
        DENIED  L64_0, 0, mov al, [rbx]
        mov     rax, [entry]
        mov     dword [rax], FREE_PAGES | P_P | P_W | P_U
        ALLOWED L64_0, mov al, [rbx]            ; no flush needed
        ; Large pages in the identity map: A and D.
        and     dword [PD + 8 * 8], ~(P_A | P_D)
        mov     rax, cr3
        mov     cr3, rax
        mov     al, [0x1000000]
        CHECK_BITS32 [PD + 8 * 8], P_A | P_D, P_A
        mov     [0x1000000], al
        CHECK_BITS32 [PD + 8 * 8], P_A | P_D, P_A | P_D
        mov     qword [in_rbx], 0x1000123
        or      dword [PD + 8 * 8], 0x2000      ; reserved bit of a 2 MiB page
        mov     rax, cr3
        mov     cr3, rax
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT  PF, 9  ; qemu-deviates: P clear with a reserved bit
        CHECK_EQ [out_cr2], 0x1000123
        and     dword [PD + 8 * 8], ~0x2000
        jmp     done64
entry:  dq      0
done64: TEST_END
