; covers: exceptions.transfer_faults, IRETQ.fault, RET.far_fault, CALL.gate_fault, INT.stack_fault
; expects: a fault in the middle of a far transfer leaves CS, SS, RSP and the flags as they were before it.
%include "prelude.inc"
%include "paging64.inc"

GATE   equ FREE_SEL
HOLE   equ TESTVA + 0x1000              ; not present; the page below it is
        GO_LONG
        MAP64   TESTVA, FREE_PAGES | P_P | P_W | P_U
        MAP64   HOLE, 0
        mov     byte [IDT64 + PF * 16 + 4], 2           ; #PF has a stack of its own
%macro UNCHANGED 3              ; CS, SS, RSP
        CHECK_EQ32 [out_cs], %1
        CHECK_EQ32 [out_ss], %2
        mov     rax, %3
        CHECK_EQ [out_rsp], rax
%endmacro
        ; IRETQ and far RET whose frame ends in a page that is not there.
        mov     rbx, TESTVA
        mov     qword [rbx + 0xfe8], landing
        mov     qword [rbx + 0xff0], UCODE64
        mov     qword [rbx + 0xff8], FL_FIX | FL_CF
        mov     rax, TESTVA + 0xfe8
        mov     [in_rbx], rax
        TRY     L64_0
        mov     rsp, rbx
        AT
        iretq
        END
        EXPECT  PF, 0
        CHECK_BITS32 [out_cr2], 0xfffff000, HOLE & 0xffffffff
        UNCHANGED CODE64, DATA64, TESTVA + 0xfe8
        EXPECT_FLAG FL_CF | FL_RF, FL_RF        ; qemu-deviates: no RF
        mov     rbx, TESTVA
        mov     qword [rbx + 0xff0], landing
        mov     qword [rbx + 0xff8], UCODE64
        mov     rax, TESTVA + 0xff0
        mov     [in_rbx], rax
        TRY     L64_0
        mov     rsp, rbx
        AT
        o64 retf
        END
        EXPECT  PF, 0
        CHECK_BITS32 [out_cr2], 0xfffff000, HOLE & 0xffffffff
        UNCHANGED CODE64, DATA64, TESTVA + 0xff0
        ; A bad SS of the outer level, found after CS was good.
        TRY     L64_0
        push    DATA64
        push    SNIP_STACK
        push    UCODE64
        push    landing
        AT
        o64 retf
        END
        EXPECT  GP, DATA64
        UNCHANGED CODE64, DATA64, SNIP_STACK - 32
        ; A target outside the canonical addresses, found last.
        TRY     L64_0
        push    UDATA64
        push    SNIP_STACK
        push    UCODE64
        mov     rax, 0x0000800000000000
        push    rax
        AT
        o64 retf
        END
        EXPECT  GP, 0                           ; qemu-deviates: faults at the target
        UNCHANGED CODE64, DATA64, SNIP_STACK - 32       ; qemu-deviates: faults at the target
        ; INT n, an exception and a call gate from ring 3 to a stack that is not there.
        mov     rax, HOLE + 0x800
        mov     [TSS64 + 4], rax
        GATE_DPL 0x40, 3
        TRY     L64_3
        int     0x40
        END
        EXPECT  PF, 2
        CHECK_BITS32 [out_cr2], 0xfffff000, HOLE & 0xffffffff
        UNCHANGED UCODE64, UDATA64, SNIP_STACK
        SET_CALL_GATE GDT + GATE, CODE64, landing, 0xec, 0
        mov     dword [GDT + GATE + 8], 0
        mov     dword [GDT + GATE + 12], 0
        mov     dword [SCRATCH], 0
        mov     word [SCRATCH + 4], GATE | 3
        TRY     L64_3
        call    dword far [SCRATCH]
        END
        EXPECT  PF, 2
        UNCHANGED UCODE64, UDATA64, SNIP_STACK
        TRY     L64_3                           ; an exception and #PF: the #PF is served, as #UD is benign
        ud2
        END
        EXPECT  PF, 2
        UNCHANGED UCODE64, UDATA64, SNIP_STACK
        TRY     L64_3                           ; #GP and #PF are two faults one after the other, too
        hlt
        END
        EXPECT  PF, 2
        ; A stack outside the canonical addresses.
        mov     rax, 0x0000900000000000
        mov     [TSS64 + 4], rax
        mov     byte [IDT64 + SS_ * 16 + 4], 2
        TRY     L64_3
        int     0x40
        END
        EXPECT  SS_, 0                          ; bochs-deviates: the old SS as error code
        UNCHANGED UCODE64, UDATA64, SNIP_STACK
        TRY     L64_3
        call    dword far [SCRATCH]
        END
        EXPECT  SS_, 0                          ; bochs-deviates: the old SS as error code
        UNCHANGED UCODE64, UDATA64, SNIP_STACK
        mov     qword [TSS64 + 4], RING0_STACK
        GATE_DPL 0x40, 0
        ; The accessed bit of a descriptor in a read-only page: the load faults and the register stays.
        MAP64   TESTVA, FREE_PAGES | P_P
        mov     rax, [GDT + DATA64]
        btr     rax, 40                         ; not accessed
        mov     [FREE_PAGES + 8], rax
        SET_DESC GDT + GATE, 0, 0xff, 0x82, 0
        SET_DESC_BASE_HIGH GDT + GATE, TESTVA >> 32
        mov     eax, GATE
        lldt    ax
        CR      cr0, CR0_WP, 0
        TRY     L64_0
        mov     ecx, DATA64
        mov     es, ecx
        mov     eax, 8 | 4
        AT
        mov     es, eax
        END
        EXPECT  PF, 3
        CHECK_BITS32 [out_cr2], 0xfffffff8, (TESTVA + 8) & 0xffffffff
        CHECK_EQ32 [out_es], DATA64
        CR      cr0, 0, CR0_WP
        xor     eax, eax
        lldt    ax
        jmp     done64
landing: ud2
done64: TEST_END
