; covers: CPUID, CPUID.dynamic
; expects: CPUID answers alike in every mode and ring, clears the upper register halves, and follows CR4 and XCR0.
%include "prelude.inc"

        xor     eax, eax
        cpuid
        mov     [vendor], ebx
        mov     [vendor + 4], edx
        mov     [vendor + 8], ecx
        mov     [last_leaf], eax
%macro CASES 1
        mov     dword [in_rax], 0
        mov     dword [in_rcx], 0
        TRY     %1
        cpuid
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], [last_leaf]
        CHECK_EQ32 [out_rbx], [vendor]
        CHECK_EQ32 [out_rdx], [vendor + 4]
        CHECK_EQ32 [out_rcx], [vendor + 8]
    %if IS_64(%1)
        CHECK_EQ32 [out_rax + 4], 0
        CHECK_EQ32 [out_rbx + 4], 0
        CHECK_EQ32 [out_rcx + 4], 0
        CHECK_EQ32 [out_rdx + 4], 0
    %endif
%endmacro
        OVER_ALL CASES
        GO_LONG
        ; Bits 63:32 of the input do not count.
        mov     dword [in_rax + 4], 0xffffffff
        TRY     L64_3
        cpuid
        END
        CHECK_EQ32 [out_rbx], [vendor]
        mov     dword [in_rax + 4], 0
        ; Leaf 1 says whether the operating system has switched XSAVE on.
        NEED_OR F_XSAVE, 'xsave', done64
        CPUID_BIT 1, ecx, 27
        setnz   al
        movzx   eax, al
        CHECK_EQ32 eax, 0
        CR      cr4, CR4_OSXSAVE, 0
        CPUID_BIT 1, ecx, 27
        setnz   al
        movzx   eax, al
        CHECK_EQ32 eax, 1
        ; Leaf 0DH: the size for what XCR0 enables.
        xor     ecx, ecx
        mov     eax, 3
        xor     edx, edx
        xsetbv
        mov     eax, 0xd
        xor     ecx, ecx
        cpuid
        CHECK_EQ32 ebx, 576
        CR      cr4, 0, CR4_OSXSAVE
        jmp     done64
vendor: dd      0, 0, 0
last_leaf: dd   0
done64: TEST_END
