; covers: PREFETCH, PREFETCHW, PREFETCHWT1, PREFETCHNTA, PREFETCHT0, PREFETCHT1, PREFETCHT2, PAUSE, NOP.memory
; expects: prefetches and no-operations with a memory operand never fault, whatever the address.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
        MAP64   TESTVA, 0
        mov     rax, TESTVA
        mov     [in_rbx], rax
        mov     rax, 0x0000800000000000
        mov     [in_rcx], rax
%macro HINT 1                   ; ModRM.reg of 0F 0D
        TRY     L64_3
        db      0x0f, 0x0d, %1 << 3 | 3
        db      0x0f, 0x0d, %1 << 3 | 1
        END
        EXPECT_OK
%endmacro
        HINT    0
        HINT    1
        HINT    2
        HINT    3
%macro HINT18 1                 ; and of 0F 18
        TRY     L64_3
        db      0x0f, 0x18, %1 << 3 | 3
        db      0x0f, 0x18, %1 << 3 | 1
        END
        EXPECT_OK
%endmacro
        HINT18  0
        HINT18  1
        HINT18  2
        HINT18  3
        HINT18  4
        TRY     L64_3
        nop     dword [rbx]
        nop     dword [rcx]
        db      0x0f, 0x19, 0x01
        db      0x0f, 0x1d, 0x01
        pause
        END
        EXPECT_OK
        TRY     PM32_3                  ; limits do not matter either
        xor     eax, eax
        mov     es, eax
        db      0x26, 0x0f, 0x18, 0x08
        db      0x26, 0x0f, 0x0d, 0x08
        db      0x26, 0x0f, 0x1f, 0x00
        END
        EXPECT_OK
        TEST_END
