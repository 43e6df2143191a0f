; covers: INSB, INSW, INSD, OUTSB, OUTSW, OUTSD, io.string
; expects: INS and OUTS move by element size in the direction of DF, count with REP, and fault before the port is touched.
%include "prelude.inc"
%include "paging64.inc"

        GO_LONG
        ; The scratch register of the UART keeps a byte: port 0x3ff.
        mov     qword [in_rdx], 0x3ff
        mov     qword [in_rsi], SCRATCH
        mov     byte [SCRATCH], 0x5a
        TRY     L64_0
        outsb
        in      al, dx
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xff, 0x5a
        CHECK_EQ [out_rsi], SCRATCH + 1
        mov     qword [in_rdi], SCRATCH + 8
        mov     qword [in_rcx], 3
        mov     dword [SCRATCH + 4], 0
        mov     dword [SCRATCH + 8], 0
        TRY     L64_0
        rep insb
        END
        CHECK_EQ32 [SCRATCH + 8], 0x5a5a5a
        CHECK_EQ [out_rdi], SCRATCH + 11
        CHECK_EQ [out_rcx], 0
        SET_FLAGS FL_DF
        TRY     L64_0
        rep insb
        END
        CHECK_EQ [out_rdi], SCRATCH + 5
        CHECK_EQ32 [SCRATCH + 4], 0x5a5a0000
        mov     qword [in_rcx], 0
        TRY     L64_0
        rep outsb
        END
        EXPECT_OK
        CHECK_EQ [out_rsi], SCRATCH
        ; Address size 32 in 64-bit mode wraps and zero-extends.
        mov     rax, 0xffffffff00000000 + SCRATCH
        mov     [in_rsi], rax
        TRY     L64_0
        a32 outsb
        END
        EXPECT_OK
        CHECK_EQ [out_rsi], SCRATCH + 1
        ; Elements of two and four bytes; REX.W does not make them eight.
%macro ELEMENTS 3               ; instruction, bytes, prefix
        mov     qword [in_rdx], 0x80
        mov     qword [in_rcx], 2
        mov     qword [in_rsi], SCRATCH
        mov     qword [in_rdi], SCRATCH
        mov     rax, 0x1122334455667788
        mov     [SCRATCH + 2 * %2], rax
        TRY     L64_0
        rep %3 %1
        END
        EXPECT_OK
        CHECK_EQ [out_rcx], 0
        CHECK_EQ [SCRATCH + 2 * %2], 0x1122334455667788
%endmacro
        ELEMENTS outsw, 2,
        CHECK_EQ [out_rsi], SCRATCH + 4
        ELEMENTS outsd, 4,
        CHECK_EQ [out_rsi], SCRATCH + 8
        ELEMENTS outsd, 4, o64
        CHECK_EQ [out_rsi], SCRATCH + 8
        ELEMENTS insw, 2,
        CHECK_EQ [out_rdi], SCRATCH + 4
        ELEMENTS insd, 4,
        CHECK_EQ [out_rdi], SCRATCH + 8
        ELEMENTS insd, 4, o64
        CHECK_EQ [out_rdi], SCRATCH + 8
        mov     qword [in_rdx], 0x3ff
        ; A page fault in the middle of REP leaves the registers at the failing element.
        MAP64   TESTVA, FREE_PAGES | P_P | P_W
        MAP64   TESTVA + 0x1000, 0
        mov     rax, TESTVA + 0xffe
        mov     [in_rdi], rax
        mov     qword [in_rcx], 5
        TRY     L64_0
        rep insb
        END
        EXPECT  PF, 2
        CHECK_EQ [out_rcx], 3
        CHECK_EQ [out_rdi], TESTVA + 0x1000
        CHECK_EQ [out_cr2], TESTVA + 0x1000
        CHECK_BITS32 [FREE_PAGES + 0xffc], 0xffff0000, 0x5a5a0000
        ; OUTS that faults does not reach the port.
        mov     rax, TESTVA + 0x1000
        mov     [in_rsi], rax
        TRY     L64_0
        outsb
        END
        EXPECT  PF, 0
        mov     dx, 0x3ff
        in      al, dx
        movzx   eax, al
        CHECK_EQ32 eax, 0x5a
        ; No I/O privilege: #GP before the page fault.
        TRY     L64_3
        outsb
        END
        EXPECT  GP, 0
        TEST_END
