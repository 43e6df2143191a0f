; covers: XSETBV, XGETBV, control.xcr0
; expects: both need CR4.OSXSAVE; XSETBV needs ring 0, XCR number 0 and a legal mask with x87 always on.
%include "prelude.inc"

        GO_LONG
        NEED    F_XSAVE, 'xsave'
        mov     qword [in_rcx], 0
        mov     qword [in_rdx], 0
        mov     qword [in_rax], 3
        TRY     L64_0
        xgetbv
        END
        EXPECT  UD, NOERR
        TRY     L64_0
        xsetbv
        END
        EXPECT  UD, NOERR
        CR      cr4, CR4_OSXSAVE, 0
        CPUID_BIT 1, ecx, 27
        setnz   al
        movzx   eax, al
        CHECK_EQ32 eax, 1                       ; CPUID mirrors OSXSAVE
        TRY     L64_0
        xsetbv
        mov     eax, 0
        xgetbv
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 3
        TRY     L64_3
        xgetbv
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 3
        TRY     L64_3
        xsetbv
        END
        EXPECT  GP, 0
%macro REFUSED 3                ; ecx, edx, eax
        mov     eax, %1
        mov     [in_rcx], rax
        mov     eax, %2
        mov     [in_rdx], rax
        mov     eax, %3
        mov     [in_rax], rax
        TRY     L64_0
        xsetbv
        END
        EXPECT  GP, 0
%endmacro
        REFUSED 0, 0, 2                         ; x87 off
        REFUSED 0, 0, 0
        REFUSED 0, 0, 5                         ; AVX without SSE
        REFUSED 0, 0x80000000, 3
        REFUSED 1, 0, 3
        REFUSED 0, 0, 0x23                      ; one of the AVX-512 bits alone
        mov     qword [in_rcx], 2
        TRY     L64_0
        xgetbv
        END
        EXPECT  GP, 0
        TEST_END
