; covers: exceptions.ist, exceptions.stack_alignment, exceptions.frame64
; expects: IST stacks are used whatever the ring; frames are 16-byte aligned; ring changes load a null SS.
%include "prelude.inc"

        GO_LONG
        mov     byte [IDT64 + UD * 16 + 4], 2
        TRY     L64_0
        ud2
        END
        CHECK_EQ32 [handler_rsp], IST2_STACK - 16
        CHECK_EQ32 [out_rsp], SNIP_STACK
        CHECK_EQ32 [out_ss], DATA64
        TRY     L64_3
        ud2
        END
        CHECK_EQ32 [handler_rsp], IST2_STACK - 16
        CHECK_EQ32 [out_ss], UDATA64
        TRY     C16_3
        ud2
        END
        CHECK_EQ32 [handler_rsp], IST2_STACK - 16
        CHECK_EQ32 [out_cs], UCODE16
        mov     byte [IDT64 + UD * 16 + 4], 0
        TRY     L64_3
        ud2
        END
        CHECK_EQ32 [handler_rsp], RING0_STACK - 16
        TRY     L64_0                           ; same ring: the current stack, aligned down to 16
        sub     rsp, 3
        ud2
        END
        CHECK_EQ32 [out_rsp], SNIP_STACK - 3
        CHECK_EQ32 [handler_rsp], SNIP_STACK - 16 - 16
        TRY     L64_0
        sub     rsp, 8
        ud2
        END
        CHECK_EQ32 [handler_rsp], SNIP_STACK - 16 - 16
        TRY     C32_0                           ; compatibility mode ring 0 keeps the stack, too
        sub     esp, 4
        ud2
        END
        CHECK_EQ32 [out_rsp], SNIP_STACK - 4
        CHECK_EQ32 [out_ss], DATA32
        ; RSP0 and IST need not be aligned; the processor aligns them.
        mov     qword [TSS64 + 4], RING0_STACK - 5
        TRY     L64_3
        ud2
        END
        CHECK_EQ32 [handler_rsp], RING0_STACK - 16 - 16
        mov     qword [TSS64 + 4], RING0_STACK
        ; SS is null with RPL = new CPL after a ring change, unchanged without.
        SET_GATE64 0x40, CODE64, .peek, 0xee
        TRY     L64_3
        int     0x40
        END
        EXPECT  UD, NOERR, .peeked
        CHECK_EQ32 [out_rax], 0
        CHECK_EQ32 [out_cs], CODE64
        TRY     L64_0
        int     0x40
        END
        CHECK_EQ32 [out_rax], DATA64
        ; The frame has RSP and SS even without a ring change; the flags lose TF, NT, RF, and IF by the gate.
        SET_FLAGS FL_IF | FL_NT | FL_DF | FL_AC
        TRY     L64_0
        int     0x40
        END
        CHECK_BITS32 [out_rbx], FL_IF | FL_NT | FL_DF | FL_AC | FL_RF | FL_TF, FL_DF | FL_AC
        CHECK_BITS32 [out_rcx], FL_IF | FL_NT | FL_DF | FL_AC, FL_IF | FL_NT | FL_DF | FL_AC
        SET_GATE64 0x40, CODE64, .peek, 0xef
        SET_FLAGS FL_IF | FL_CF
        TRY     L64_3
        int     0x40
        END
        CHECK_BITS32 [out_rbx], FL_IF | FL_CF, FL_IF | FL_CF
        ; A bad RSP0: #SS(0) cannot be pushed there either, so give #SS and #DF an IST.
        mov     rax, 0x0000800000000000
        mov     [TSS64 + 4], rax
        mov     byte [IDT64 + SS_ * 16 + 4], 2
        TRY     L64_3
        ud2
        END
        EXPECT  SS_, 1                          ; qemu-deviates: no EXT; bochs-deviates: names the old SS
        mov     qword [TSS64 + 4], RING0_STACK
        ; A gate whose target is not 64-bit code.
        SET_GATE64 0x41, CODE32, .peek, 0xee
        TRY     L64_3
        int     0x41
        END
        EXPECT  GP, CODE32
        SET_GATE64 0x41, UCODE64, .peek, 0xee   ; outward
        TRY     L64_0
        int     0x41
        END
        EXPECT  GP, UCODE64 & ~3
        SET_GATE64 0x41, CODE64, .peek, 0xee
        mov     dword [IDT64 + 0x41 * 16 + 8], 0x00010000       ; non-canonical offset
        TRY     L64_3
        int     0x41
        END
        EXPECT  GP, 0                           ; qemu-deviates: faults at the target
        jmp     .done
.peek:  mov     eax, ss
        pushfq
        pop     rbx
        mov     rcx, [rsp + 16]
.peeked:
        ud2
.done:  TEST_END
