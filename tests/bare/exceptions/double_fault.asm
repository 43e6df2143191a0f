; covers: exceptions.double_fault, exceptions.nested, exceptions.ext_bit
; expects: contributory pairs and #PF pairs give #DF(0) on its IST stack; benign or serial pairs give the second event.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
%macro GATE_PRESENT 2
  %if %2
        or      byte [IDT64 + (%1) * 16 + 5], 0x80
  %else
        and     byte [IDT64 + (%1) * 16 + 5], 0x7f
  %endif
%endmacro
        mov     qword [in_rbx], 0
        GATE_PRESENT GP, 0
        TRY     L64_3
        hlt
        END
        EXPECT  DF, 0
        CHECK_EQ32 [handler_rsp], IST1_STACK - 16
        CHECK_EQ32 [out_cs], UCODE64
        CHECK_EQ32 [out_rsp], SNIP_STACK
        TRY     L64_0
        mov     eax, DATA64 + 4
        AT
        mov     es, eax
        END
        EXPECT  DF, 0
        GATE_PRESENT GP, 1
        GATE_PRESENT DE, 0
        TRY     L64_0
        div     ebx
        END
        EXPECT  DF, 0
        GATE_PRESENT DE, 1
        ; A benign first event: the second is served, with EXT set in its error code.
        GATE_PRESENT UD, 0
        TRY     L64_0
        ud2
        END
        EXPECT  NP, UD * 8 + 3          ; qemu-deviates: 16 times the vector and no EXT
        GATE_PRESENT UD, 1
        GATE_PRESENT 0x40, 0
        TRY     L64_0
        int     0x40
        END
        EXPECT  NP, 0x40 * 8 + 2        ; qemu-deviates: 16 times the vector
        GATE_PRESENT 0x40, 1
        ; #PF, then a contributory fault.
        GATE_PRESENT PF, 0
        mov     rax, TESTVA
        mov     [in_rbx], rax
        TRY     L64_0
        mov     al, [rbx]
        END
        EXPECT  DF, 0
        GATE_PRESENT PF, 1
        ; #NP in delivering #NP.
        SET_DESC GDT + FREE_SEL, 0, 0xfffff, 0x1a, F_G | F_L
        mov     word [IDT64 + 0x41 * 16 + 2], FREE_SEL
        GATE_PRESENT NP, 0
        TRY     L64_0
        int     0x41
        END
        EXPECT  DF, 0
        GATE_PRESENT NP, 1
        TRY     L64_0
        int     0x41
        END
        EXPECT  NP, FREE_SEL
        mov     word [IDT64 + 0x41 * 16 + 2], CODE64

        ; The table straddles a page that is not present: gates up to 13 are on it or not.
        MAP64   TESTVA, IDT64 | P_P | P_W
        MAP64   TESTVA + 0x1000, FREE_PAGES | P_P | P_W
        MAP64   TESTVA + 0x2000, (FREE_PAGES + 0x1000) | P_P | P_W
        mov     rsi, IDT64
        mov     rdi, TESTVA + 0x2000 - 0xe0     ; gate 14 is the first on the second page
        mov     ecx, 256 * 2
        rep movsq
        mov     rax, TESTVA + 0x2000 - 0xe0
        mov     [SCRATCH + 2], rax
        mov     word [SCRATCH], 32 * 16 - 1
        MAP64   TESTVA + 0x1000, 0
        TRY     L64_0                           ; #GP, then #PF reading its gate: served as #PF
        lidt    [SCRATCH]
        mov     eax, DATA64 + 4
        AT
        mov     es, eax
        END
        EXPECT  PF, 0
        CHECK_EQ [out_cr2], TESTVA + 0x2000 - 0x10
        MAP64   TESTVA + 0x1000, FREE_PAGES | P_P | P_W
        mov     rsi, IDT64
        mov     rdi, TESTVA + 0x2000 - 0xd0     ; gate 13 is the first on the second page
        mov     ecx, 256 * 2
        rep movsq
        mov     rax, TESTVA + 0x2000 - 0xd0
        mov     [SCRATCH + 2], rax
        MAP64   TESTVA + 0x2000, 0
        TRY     L64_0                           ; #PF, then #PF
        lidt    [SCRATCH]
        mov     rbx, TESTVA + 0x5000
        AT
        mov     al, [rbx]
        END
        EXPECT  DF, 0
        CHECK_EQ [out_cr2], TESTVA + 0x2010
        TRY     L64_0                           ; #GP, #PF, #PF
        lidt    [SCRATCH]
        mov     eax, DATA64 + 4
        AT
        mov     es, eax
        END
        EXPECT  DF, 0
        ; A bad stack in ring 0: #SS in delivering #UD is served (benign first), on an IST stack.
        mov     byte [IDT64 + SS_ * 16 + 4], 2
        TRY     L64_0
        mov     rsp, 0x0000900000000000
        AT
        ud2
        END
        EXPECT  SS_, 1                          ; qemu-deviates: #DF instead
        CHECK_EQ32 [handler_rsp], IST2_STACK - 16       ; qemu-deviates: #DF instead
        TRY     L64_0
        mov     rsp, TESTVA + 0x6000            ; not-present stack: #PF on its own push is #DF
        push    rax
        END
        EXPECT  DF, 0, LAST_END - 1
        TEST_END
