; covers: segmentation.call_gates, CALL.gate, JMP.gate, segmentation.parameter_copy, segmentation.inner_stack
; expects: gates check their own DPL, copy parameters to the inner stack and switch to ring DPL of the target code.
%include "prelude.inc"

GATE equ FREE_SEL + 0x100
%define GATE_AT GDT + GATE
%macro FAR_CALL 0
        call    GATE | 3:0x12345678             ; the offset is ignored
%endmacro
        ; 32-bit gate with two parameters, ring 3 to ring 0.
        SET_CALL_GATE GATE_AT, CODE32, target, 0xec, 2
        TRY     PM32_3
        push    dword 0x11111111
        push    dword 0x22222222
        AT
        FAR_CALL
        END
        EXPECT  UD, NOERR, target
        CHECK_EQ32 [out_cs], CODE32
        CHECK_EQ32 [out_ss], DATA32
        CHECK_EQ32 [out_rsp], RING0_STACK - 24
        CHECK_EQ32 [RING0_STACK - 24], LAST_END
        CHECK_EQ32 [RING0_STACK - 20], UCODE32
        CHECK_EQ32 [RING0_STACK - 16], 0x22222222
        CHECK_EQ32 [RING0_STACK - 12], 0x11111111
        CHECK_EQ32 [RING0_STACK - 8], SNIP_STACK - 8
        CHECK_EQ32 [RING0_STACK - 4], UDATA32
        ; RETF n releases the parameters on both stacks.
        SET_CALL_GATE GATE_AT, CODE32, return8, 0xec, 2
        TRY     PM32_3
        push    dword 0x11111111
        push    dword 0x22222222
        FAR_CALL
        END
        EXPECT_OK
        CHECK_EQ32 [out_rsp], SNIP_STACK
        CHECK_EQ32 [out_cs], UCODE32
        ; 16-bit gate: words are pushed, IP has 16 bits.
        SET_DESC GDT + FREE_SEL, IMAGE, 0xffff, A_CODE, F_B
        SET_CALL_GATE GATE_AT, FREE_SEL, target - image_start, 0xe4, 1
        TRY     PM32_3
        push    word 0x3333
        AT
        FAR_CALL
        END
        CHECK_EQ32 [out_rip], target - image_start
        CHECK_EQ32 [out_rsp], RING0_STACK - 10
        CHECK_BITS32 [RING0_STACK - 6], 0xffff, 0x3333
        CHECK_BITS32 [RING0_STACK - 4], 0xffff, (SNIP_STACK - 2) & 0xffff
        CHECK_BITS32 [RING0_STACK - 8], 0xffff, UCODE32
        ; Ring 0 to ring 0: no stack switch, no parameters copied.
        SET_CALL_GATE GATE_AT, CODE32, target, 0x8c, 3
        TRY     PM32_0
        call    GATE:0
        END
        EXPECT  UD, NOERR, target
        CHECK_EQ32 [out_rsp], SNIP_STACK - 8
        CHECK_EQ32 [SNIP_STACK - 8], LAST_END
        TRY     PM32_0
        jmp     GATE:0
        END
        EXPECT  UD, NOERR, target
        CHECK_EQ32 [out_rsp], SNIP_STACK
        ; Refusals. DPL of the gate against CPL and RPL; then presence; then the target.
%macro REFUSED 3-4 call         ; selector, vector, error code[, call or jmp]
        TRY     PM32_3
        %4      %1:0
        END
        EXPECT  %2, %3
        CHECK_EQ32 [out_rsp], SNIP_STACK
%endmacro
        REFUSED GATE, GP, GATE
        TRY     PM32_0
        call    GATE | 3:0
        END
        EXPECT  GP, GATE
        SET_CALL_GATE GATE_AT, CODE32, target, 0x6c, 0
        REFUSED GATE, NP, GATE
        SET_CALL_GATE GATE_AT, 0, target, 0xec, 0
        REFUSED GATE, GP, 0
        SET_CALL_GATE GATE_AT, UDATA32, target, 0xec, 0
        REFUSED GATE, GP, UDATA32 & ~3
        SET_CALL_GATE GATE_AT, NP_CODE, target, 0xec, 0
        REFUSED GATE, NP, NP_CODE
        SET_CALL_GATE GATE_AT, 0x1000, target, 0xec, 0
        REFUSED GATE, GP, 0x1000
        SET_CALL_GATE GATE_AT, CODE32, target, 0xec, 0
        REFUSED GATE, GP, CODE32, jmp           ; JMP cannot change rings
        ; Conforming code through a gate: same ring, same stack, also by JMP.
        SET_CALL_GATE GATE_AT, CONFORMING, target, 0xec, 5
        TRY     PM32_3
        call    GATE:0
        END
        EXPECT  UD, NOERR, target
        CHECK_EQ32 [out_cs], CONFORMING | 3  ; qemu-deviates: switches stacks for conforming code
        CHECK_EQ32 [out_rsp], SNIP_STACK - 8  ; qemu-deviates: switches stacks for conforming code
        TRY     PM32_3
        jmp     GATE:0
        END
        EXPECT  UD, NOERR, target
        ; The inner stack: #TS with the selector for a bad one, #SS for one not present.
        SET_CALL_GATE GATE_AT, CODE32, target, 0xec, 0
%macro INNER 3                  ; ring 0 SS, vector, error code: must work for the #TS handler as well, so via ring 1
        mov     dword [TSS32 + 16], %1
        REFUSED GATE, %2, %3
%endmacro
        SET_DESC GDT + FREE_SEL, 0, 0xfffff, 0xba, F_G | F_B            ; ring 1 code
        SET_DESC GDT + FREE_SEL + 8, 0, 0xfffff, 0xb2, F_G | F_B        ; ring 1 data
        SET_DESC GDT + FREE_SEL + 16, 0, 0xfffff, 0x32, F_G | F_B       ; the same, not present
        SET_DESC GDT + FREE_SEL + 24, 0, 0xfffff, 0xb0, F_G | F_B       ; the same, read-only
        SET_DESC GDT + FREE_SEL + 32, 0, 7, 0xb2, F_B                   ; the same, small
        SET_CALL_GATE GATE_AT, FREE_SEL, target, 0xec, 0
        mov     dword [TSS32 + 16], FREE_SEL + 8 | 1
        TRY     PM32_3
        call    GATE:0
        END
        EXPECT  UD, NOERR, target
        CHECK_EQ32 [out_cs], FREE_SEL | 1
        CHECK_EQ32 [out_ss], FREE_SEL + 8 | 1
        CHECK_EQ32 [out_rsp], RING1_STACK - 16
        INNER   0, TS, 0
        INNER   FREE_SEL + 8, TS, FREE_SEL + 8          ; RPL is not the new CPL
        INNER   UDATA32, TS, UDATA32 & ~3
        INNER   DATA32 | 1, TS, DATA32
        INNER   FREE_SEL + 24 | 1, TS, FREE_SEL + 24
        INNER   FREE_SEL + 16 | 1, SS_, FREE_SEL + 16  ; qemu-deviates: #TS for a stack that is not present
        INNER   0x1001, TS, 0x1000
        INNER   FREE_SEL + 32 | 1, SS_, FREE_SEL + 32   ; qemu-deviates: no limits

        ; Long mode: 16-byte gates to 64-bit code; eight-byte pushes, null SS, no parameters.
        GO_LONG
        mov     dword [GATE_AT + 8], 0
        mov     dword [GATE_AT + 12], 0
        SET_CALL_GATE GATE_AT, CODE64, target, 0xec, 0
        mov     dword [SCRATCH], 0
        mov     word [SCRATCH + 4], GATE | 3
        TRY     L64_3
        call    dword far [SCRATCH]
        END
        EXPECT  UD, NOERR, target
        CHECK_EQ32 [out_cs], CODE64
        CHECK_EQ32 [out_ss], 0
        CHECK_EQ [out_rsp], RING0_STACK - 32
        CHECK_EQ [RING0_STACK - 32], LAST_END
        CHECK_EQ [RING0_STACK - 24], UCODE64
        CHECK_EQ [RING0_STACK - 16], SNIP_STACK
        CHECK_EQ [RING0_STACK - 8], UDATA64
        TRY     C32_3
        call    GATE | 3:0
        END
        EXPECT  UD, NOERR, target
        CHECK_EQ32 [out_cs], CODE64
        CHECK_EQ [RING0_STACK - 24], UCODE32
        TRY     L64_0
        call    dword far [SCRATCH]
        END
        EXPECT  UD, NOERR, target
        mov     dword [GATE_AT + 12], 0x100             ; the type field of the upper half
        TRY     L64_0
        call    dword far [SCRATCH]
        END
        EXPECT  GP, GATE
        mov     dword [GATE_AT + 12], 0
        mov     word [SCRATCH + 4], GATE
        TRY     L64_0
        jmp     dword far [SCRATCH]
        END
        EXPECT  UD, NOERR, target
        SET_CALL_GATE GATE_AT, CODE32, target, 0xec, 0
        TRY     L64_3                                   ; the target must be 64-bit code
        call    dword far [SCRATCH]
        END
        EXPECT  GP, CODE32
        SET_CALL_GATE GATE_AT, CODE64, target, 0xec, 0
        mov     dword [GATE_AT + 12], 0x0c00            ; type of the upper half
        TRY     L64_3
        call    dword far [SCRATCH]
        END
        EXPECT  GP, GATE
        mov     dword [GATE_AT + 12], 0
        mov     dword [GATE_AT + 8], 0x8000
        TRY     L64_3                                   ; non-canonical target
        call    dword far [SCRATCH]
        END
        EXPECT  GP, 0                                   ; qemu-deviates: faults at the target
        mov     dword [GATE_AT + 8], 0
        SET_CALL_GATE GATE_AT, CODE64, target, 0xe4, 0  ; a 16-bit gate
        TRY     L64_3
        call    dword far [SCRATCH]
        END
        EXPECT  GP, GATE
        GO_LEGACY
        jmp     done32
target: ud2
return8:
        retf    8
done32: TEST_END
