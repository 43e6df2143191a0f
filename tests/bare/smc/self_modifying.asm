; covers: smc.same_page, smc.cross_page, smc.alias, smc.string, smc.next_instruction, smc.fetch_cross
; expects: code that was just written is executed as written, whichever mapping, width or instruction wrote it.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
%define CODE_PAGE FREE_PAGES
; At CODE_PAGE: mov eax, imm32; ret. CALLS value: what the routine returns.
        mov     byte [CODE_PAGE], 0xb8
        mov     dword [CODE_PAGE + 1], 1
        mov     byte [CODE_PAGE + 5], 0xc3
        mov     ebx, CODE_PAGE
%macro CALLS 1
        call    rbx
        CHECK_EQ32 eax, %1
%endmacro
        CALLS   1
        mov     dword [CODE_PAGE + 1], 2
        CALLS   2
        mov     byte [CODE_PAGE + 4], 3
        CALLS   0x03000002
        mov     word [CODE_PAGE + 2], 0x1234
        CALLS   0x03123402
        lock inc dword [CODE_PAGE + 1]
        CALLS   0x03123403
        push    qword 0x55
        pop     qword [SCRATCH]
        mov     eax, 0x77
        xchg    [CODE_PAGE + 1], eax
        CALLS   0x77
        ; Many rounds, so that a translator has compiled the loop.
        mov     ecx, 2000
.round: mov     [CODE_PAGE + 1], ecx
        call    rbx
        cmp     eax, ecx
        jne     .bad
        loop    .round
.bad:   CHECK_EQ32 ecx, 0
        ; REP MOVSB and STOSD over code.
        mov     byte [SCRATCH], 0xb8
        mov     dword [SCRATCH + 1], 0xabcdef
        mov     byte [SCRATCH + 5], 0xc3
        mov     esi, SCRATCH
        mov     edi, CODE_PAGE
        mov     ecx, 6
        rep movsb
        CALLS   0xabcdef
        mov     edi, CODE_PAGE + 1
        mov     eax, 0x31313131
        stosd
        CALLS   0x31313131
        ; Through an alias, and executed through an alias.
        MAP64   TESTVA, CODE_PAGE | P_P | P_W | P_U
        MAP64   TESTVA + 0x1000, CODE_PAGE | P_P | P_W | P_U
        mov     rbp, TESTVA
        mov     dword [rbp + 1], 0x41414141
        CALLS   0x41414141
        lea     rbx, [rbp + 0x1000]
        CALLS   0x41414141
        mov     dword [CODE_PAGE + 1], 0x42424242
        CALLS   0x42424242
        mov     dword [rbp + 1], 0x43434343
        CALLS   0x43434343
        ; Remapping: the same virtual address, another frame.
        mov     byte [CODE_PAGE + 0x1000], 0xb8
        mov     dword [CODE_PAGE + 0x1001], 0x51515151
        mov     byte [CODE_PAGE + 0x1005], 0xc3
        MAP64   TESTVA + 0x1000, (CODE_PAGE + 0x1000) | P_P | P_W | P_U
        CALLS   0x51515151
        MAP64   TESTVA + 0x1000, CODE_PAGE | P_P | P_W | P_U
        CALLS   0x43434343
        ; An instruction across two pages; each half changes in turn.
        mov     ebx, CODE_PAGE + 0x2ffe
        mov     byte [CODE_PAGE + 0x2ffe], 0xb8
        mov     dword [CODE_PAGE + 0x2fff], 0x61616161
        mov     byte [CODE_PAGE + 0x3003], 0xc3
        CALLS   0x61616161
        mov     byte [CODE_PAGE + 0x3000], 0x62
        CALLS   0x61616261
        mov     byte [CODE_PAGE + 0x2fff], 0x63
        CALLS   0x61616263
        ; The next instruction, in the same straight line.
        mov     ecx, 3
.again: mov     byte [.patched + 1], 0x11       ; restore
        mov     eax, ecx
        shl     eax, 4
        mov     [.patched + 1], al
.patched:
        mov     dl, 0x11
        movzx   edx, dl
        CHECK_EQ32 edx, eax
        dec     ecx
        jnz     .again
        mov     byte [.next], 0x90
        mov     eax, 5
        mov     byte [.next], 0x40              ; becomes a REX prefix of the INC that follows
.next:  nop
        inc     eax
        CHECK_EQ32 eax, 6
        ; An instruction that overwrites itself runs once as it was; the loop sees the new one.
        mov     ecx, 2
        xor     edx, edx
        mov     edi, .self
        mov     eax, 0x90909090
.loop:
.self:  mov     [rdi], eax                      ; 89 07
        nop
        nop
        inc     edx
        loop    .loop
        CHECK_EQ32 edx, 2
        CHECK_EQ32 [.self], 0x90909090
        ; A jump target patched behind the jump, then ahead of it.
        mov     dword [CODE_PAGE + 0x4000], 0x90909090
        mov     byte [CODE_PAGE + 0x4004], 0xc3
        mov     ebx, CODE_PAGE + 0x4000
        xor     eax, eax
        CALLS   0
        mov     word [CODE_PAGE + 0x4000], 0xc0ff       ; inc eax
        xor     eax, eax
        CALLS   1
        mov     word [CODE_PAGE + 0x4002], 0xc0ff
        xor     eax, eax
        CALLS   2
        ; In ring 3, and with a page that becomes not executable.
        mov     rax, TESTVA
        mov     [in_rbx], rax
        mov     dword [CODE_PAGE + 1], 0x71717171
        TRY     L64_3
        call    rbx
        mov     byte [rbx + 1], 0x72
        call    rbx
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 0x71717172
        MAP64   TESTVA, CODE_PAGE | P_P | P_W | P_U | P_NX
        TRY     L64_3
        call    rbx
        END
        CHECK_EQ32 [out_err], 0x15
        CHECK_EQ [out_rip], TESTVA
        TEST_END
