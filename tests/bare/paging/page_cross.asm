; covers: paging.page_cross, paging.no_partial_state, paging.fetch_cross
; expects: an access over two pages faults as a whole: no byte is written, registers stay, CR2 names the second page.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
%define VA TESTVA
        mov     rax, VA + 0xffd
        mov     [in_rbx], rax
        MAP64   VA, FREE_PAGES | P_P | P_W | P_U
        MAP64   VA + 0x1000, 0
        mov     dword [FREE_PAGES + 0xffc], 0x11223344
%macro CROSS 2-*                ; error code, instruction
        TRY     L64_3
        %{2:-1}
        END
        EXPECT  PF, %1
        CHECK_EQ [out_cr2], VA + 0x1000
        CHECK_EQ32 [FREE_PAGES + 0xffc], 0x11223344
        CHECK_EQ [out_rax], [in_rax]
        CHECK_EQ [out_rbx], [in_rbx]
        CHECK_EQ [out_rdx], [in_rdx]
        EXPECT_FLAG 0x8d5, 0
%endmacro
        CROSS   6, mov [rbx], eax
        CROSS   6, mov [rbx], rax
        CROSS   4, mov rax, [rbx]
        CROSS   6, add [rbx], eax  ; qemu-deviates: reports the read first
        CROSS   4, add eax, [rbx]
        CROSS   6, xchg eax, [rbx]  ; qemu-deviates: reports the read first
        CROSS   6, inc dword [rbx]  ; qemu-deviates: reports the read first
        CROSS   6, shl dword [rbx], 1  ; qemu-deviates: reports the read first
        CROSS   6, lock xadd [rbx], eax  ; qemu-deviates: reports the read first
        CROSS   6, lock cmpxchg [rbx], edx  ; qemu-deviates: reports the read first
        CROSS   6, bts dword [rbx], 0  ; qemu-deviates: reports the read first
        CROSS   6, movnti [rbx], eax
        CROSS   6, pop qword [rbx]
        CHECK_EQ [out_rsp], SNIP_STACK
        CROSS   4, push qword [rbx]
        CHECK_EQ [out_rsp], SNIP_STACK
        CROSS   4, imul eax, [rbx], 3
        CROSS   4, cmp eax, [rbx]
        CROSS   4, div dword [rbx]
        ; Read-only second page: a write error with P set.
        MAP64   VA + 0x1000, (FREE_PAGES + 0x1000) | P_P | P_U
        CROSS   7, mov [rbx], eax
        CROSS   7, add [rbx], rax
        CROSS   7, lock inc dword [rbx]
        CR      cr4, CR4_OSFXSR, 0
        CROSS   7, movups [rbx], xmm0
        ; The first page missing, the second there: CR2 is the access itself.
        MAP64   VA + 0x1000, (FREE_PAGES + 0x1000) | P_P | P_W | P_U
        MAP64   VA, 0
        mov     dword [FREE_PAGES + 0x1000], 0x55667788
        TRY     L64_3
        mov     [rbx], rax
        END
        EXPECT  PF, 6
        CHECK_EQ [out_cr2], VA + 0xffd
        CHECK_EQ32 [FREE_PAGES + 0x1000], 0x55667788
        ; Both there, different frames.
        MAP64   VA, (FREE_PAGES + 0x5000) | P_P | P_W | P_U
        mov     rax, 0x8877665544332211
        mov     [in_rax], rax
        TRY     L64_3
        mov     [rbx], rax
        mov     rdx, [rbx]
        END
        EXPECT_OK
        CHECK_EQ [out_rdx], [in_rax]
        CHECK_EQ32 [FREE_PAGES + 0x5ffc], 0x33221100 - 0x00000000       ; bytes 11 22 33 after one zero byte
        CHECK_EQ32 [FREE_PAGES + 0x1000], 0x77665544
        ; PUSHes and CALLs over the edge: RSP unchanged.
        MAP64   VA, 0
        TRY     L64_3
        mov     rsp, VA + 0x1004
        AT
        push    rax
        END
        EXPECT  PF, 6
        CHECK_EQ [out_rsp], VA + 0x1004
        CHECK_EQ [out_cr2], VA + 0xffc
        TRY     L64_3
        mov     rsp, VA + 0x1004
        AT
        call    rbx
        END
        EXPECT  PF, 6
        CHECK_EQ [out_rsp], VA + 0x1004
        TRY     L64_3
        mov     rsp, VA + 0x1004
        AT
        enter   16, 0
        END
        EXPECT  PF, 6
        CHECK_EQ [out_rsp], VA + 0x1004
        CHECK_EQ [out_rbp], [in_rbp]
        ; An instruction over the edge: the fetch fault is at its start with CR2 on the second page.
        MAP64   VA, (FREE_PAGES + 0x5000) | P_P | P_W | P_U
        MAP64   VA + 0x1000, (FREE_PAGES + 0x1000) | P_P | P_W | P_U | P_NX
        mov     byte [FREE_PAGES + 0x5ffd], 0xb8        ; mov eax, imm32
        TRY     L64_3
        jmp     rbx
        END
        CHECK_EQ32 [out_vec], PF
        CHECK_EQ32 [out_err], 0x15
        CHECK_EQ [out_rip], VA + 0xffd
        CHECK_EQ [out_cr2], VA + 0x1000
        MAP64   VA + 0x1000, 0
        TRY     L64_3
        jmp     rbx
        END
        CHECK_EQ32 [out_err], 0x14
        ; An instruction that ends exactly at the edge does not touch the next page.
        mov     dword [FREE_PAGES + 0x5ffc], 0x0b0f9090
        TRY     L64_3
        jmp     rbx
        END
        CHECK_EQ32 [out_vec], UD
        CHECK_EQ [out_rip], VA + 0xffe
        ; REP MOVS stops where it faults; what was moved stays moved.
        mov     rax, VA + 0xff8
        mov     [in_rdi], rax
        mov     qword [in_rsi], SCRATCH
        mov     qword [in_rcx], 16
        TRY     L64_3
        rep movsb
        END
        EXPECT  PF, 6
        CHECK_EQ [out_rcx], 8
        CHECK_EQ [out_rdi], VA + 0x1000
        CHECK_EQ [out_rsi], SCRATCH + 8
        CHECK_EQ [out_cr2], VA + 0x1000
        TRY     L64_3
        mov     rdi, VA + 0xffc
        AT
        stosq
        END
        EXPECT  PF, 6
        CHECK_EQ [out_rdi], VA + 0xffc
        TEST_END
