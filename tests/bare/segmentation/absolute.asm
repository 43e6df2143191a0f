; covers: MOV.moffs
; expects: MOV between the accumulator and an absolute address takes it whole and unsigned, in any address size.
%include "prelude.inc"

APIC_VERSION equ 0xfee00030             ; a readable dword above 2 GiB
        mov     ebx, APIC_VERSION
        mov     edx, [ebx]
        mov     [version], edx
        mov     dword [SCRATCH], 0x89abcdef
        TRY     PM32_3
        mov     eax, [APIC_VERSION]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], [version]
        TRY     PM32_0
        db      0x67, 0xa1                      ; 16-bit address
        dw      0x7fff                          ; any byte of low memory
        END
        EXPECT_OK
        TRY     PM16_3
        mov     ax, [SCRATCH16]
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xffff, 0xcdef
        TRY     PM16_3                          ; beyond 64 KiB
        db      0x67, 0xa1
        dd      0x80000000
        END
        EXPECT  GP, 0                                   ; qemu-deviates: no limits
        GO_LONG
        TRY     C32_3
        mov     eax, [APIC_VERSION]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], [version]
        TRY     L64_3
        db      0x67, 0xa1                      ; zero-extended
        dd      APIC_VERSION
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], [version]
        TRY     L64_3
        db      0xa1
        dq      APIC_VERSION
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], [version]
        TRY     L64_3
        db      0xa1
        dq      0x0000800000000000
        END
        EXPECT  GP, 0
        TRY     L64_3
        mov     eax, 0x12345678
        db      0xa3
        dq      SCRATCH
        END
        EXPECT_OK
        CHECK_EQ32 [SCRATCH], 0x12345678
        jmp     done64
version: dd     0
done64: TEST_END
