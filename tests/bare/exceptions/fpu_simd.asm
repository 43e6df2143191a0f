; covers: exceptions.mf, exceptions.xm, control.osfxsr, control.osxmmexcpt
; expects: unmasked x87 errors are #MF at the next waiting instruction, SIMD ones #XM or #UD as CR4 says.
%include "prelude.inc"

        GO_LONG
        fninit
        TRY     L64_3
        fninit
        mov     word [SCRATCH], 0x37b           ; zero divide unmasked
        fldcw   [SCRATCH]
        fld1
        fldz
        fdivp                                   ; no fault yet
        nop
        AT
        fwait
        END
        EXPECT  MF, NOERR                       ; bochs-deviates: reports at the instruction
        fninit
        TRY     L64_3
        fninit
        mov     word [SCRATCH], 0x37b
        fldcw   [SCRATCH]
        fld1
        fldz
        fdivp
        fnstsw  ax                              ; a non-waiting instruction does not report
        fnclex
        fwait
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0x84, 0x84
        fninit
        ; SSE needs OSFXSR, and EM clear.
        TRY     L64_3
        xorps   xmm0, xmm0
        END
        EXPECT  UD, NOERR
        CR      cr4, CR4_OSFXSR, 0
        TRY     L64_3
        xorps   xmm0, xmm0
        END
        EXPECT_OK
        CR      cr0, CR0_EM, 0
        TRY     L64_3
        xorps   xmm0, xmm0
        END
        EXPECT  UD, NOERR
        CR      cr0, CR0_TS, CR0_EM
        TRY     L64_3
        xorps   xmm0, xmm0
        END
        EXPECT  NM, NOERR
        TRY     L64_3
        mfence                                  ; integer SSE2 does not mind
        movnti  [abs SCRATCH], eax
        END
        EXPECT_OK
        CR      cr0, 0, CR0_TS
        ; Zero divide with MXCSR.ZM clear.
%macro DIVIDE 2
        mov     dword [SCRATCH], 0x1d80
        mov     dword [SCRATCH + 4], 0x3f800000
        TRY     L64_3
        ldmxcsr [SCRATCH]
        xorps   xmm1, xmm1
        movss   xmm0, [SCRATCH + 4]
        AT
        divss   xmm0, xmm1
        END
        EXPECT  %1, %2
%endmacro
        DIVIDE  UD, NOERR                       ; qemu-deviates: no SIMD exceptions
        CR      cr4, 0x400, 0
        DIVIDE  XM, NOERR                       ; qemu-deviates: no SIMD exceptions
        TRY     L64_3
        stmxcsr [SCRATCH + 8]
        END
        CHECK_BITS32 [SCRATCH + 8], 4, 4        ; qemu-deviates: no SIMD exceptions
        ; Reserved bits of MXCSR, misaligned 16-byte operands.
        mov     dword [SCRATCH], 0x10000
        TRY     L64_3
        ldmxcsr [SCRATCH]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no check
        TRY     L64_3
        movaps  xmm0, [SCRATCH + 8]
        END
        EXPECT  GP, 0                           ; qemu-deviates: no alignment checks
        TEST_END
