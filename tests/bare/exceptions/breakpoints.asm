; covers: MOV.dr, exceptions.breakpoints, exceptions.dr7_gd, exceptions.rf
; qemu-deviates: QEMU 7.2 itself crashes
; expects: DR0-3 stop execution, writes, accesses and ports as DR7 says, with B bits in DR6; GD guards the registers.
%include "prelude.inc"

        GO_LONG
%macro SET_DR 2
        mov     rax, %2
        mov     %1, rax
%endmacro
%macro ARM 3                    ; breakpoint number, address, R/W and LEN bits (4-bit)
        SET_DR  dr6, 0xffff0ff0
        SET_DR  dr%1, %2
        SET_DR  dr7, 0x400 | 2 << (%1 * 2) | (%3) << (16 + %1 * 4)
%endmacro
%macro HIT 2                    ; DR6 bits, address
        EXPECT  DB_, NOERR, %2
        mov     rax, dr6
        CHECK_BITS32 eax, 0xe00f & ((%1) | 0xe000), %1
        SET_DR  dr7, 0x400
%endmacro
%macro MISSED 0
        EXPECT_OK
        SET_DR  dr7, 0x400
%endmacro
        ARM     0, a, 0
        TRY     L64_0
        nop
a:      nop
        END
        HIT     1, a
        EXPECT_FLAG FL_RF, 0            ; bochs-deviates: pushes RF set
        ARM     0, b, 0
        SET_FLAGS FL_RF
        TRY     L64_0
b:      nop
        END
        MISSED
        ARM     3, c, 0
        SET_FLAGS FL_RF
        TRY     L64_3                   ; RF lasts one instruction
        nop
c:      nop
        END
        HIT     8, c
        ARM     1, d, 0
        TRY     C16_3
        nop
        nop
d:      nop
        END
        HIT     2, d
        ; An instruction breakpoint comes before the instruction's own fault; only its first byte counts.
        ARM     0, e, 0
        TRY     L64_3
e:      ud2
        END
        HIT     1, e
        ARM     0, f, 0
        TRY     L64_3
        db      0x66
f:      nop
        END
        MISSED
        ; Data: 01 write, 11 read or write; LEN 00 one, 01 two, 11 four, 10 eight bytes.
        mov     qword [in_rbx], SCRATCH
        ARM     1, SCRATCH, 1
        TRY     L64_0
        mov     al, [rbx]
        mov     [rbx + 1], al
        mov     [rbx], al
g:      nop
        END
        HIT     2, g
        ARM     2, SCRATCH + 4, 0xd
        TRY     L64_3
        mov     [rbx + 3], al
        mov     [rbx + 8], al
        mov     [rbx + 7], al
h:      nop
        END
        HIT     4, h
        ARM     2, SCRATCH + 4, 0xf
        TRY     L64_3
        mov     eax, [rbx + 1]          ; overlaps by one byte
i:      nop
        END
        HIT     4, i
        ARM     0, SCRATCH + 8, 0xb
        TRY     L64_3
        mov     al, [rbx + 7]
        mov     al, [rbx + 16]
        mov     al, [rbx + 15]
j:      nop
        END
        HIT     1, j
        ARM     0, SCRATCH + 2, 0x5
        TRY     L64_3
        push    rax
        inc     byte [rbx + 3]
k:      nop
        END
        HIT     1, k
        ; Repeated moves stop after the iteration that hits.
        mov     qword [in_rcx], 8
        mov     qword [in_rsi], SCRATCH + 64
        mov     qword [in_rdi], SCRATCH
        ARM     0, SCRATCH + 3, 1
        TRY     L64_3
        rep movsb
        END
        EXPECT  DB_, NOERR
        CHECK_EQ [out_rcx], 4
        SET_DR  dr7, 0x400
        ; Local and global enables are alike; a disabled one does not stop.
        SET_DR  dr0, m
        SET_DR  dr7, 0x401
        TRY     L64_0
        nop
m:      nop
        END
        HIT     1, m
        SET_DR  dr7, 0x400
        TRY     L64_0
        nop
        END
        MISSED
        ; The breakpoint of an interrupted MOV SS is held back by one instruction.
        mov     qword [SCRATCH + 32], DATA64
        ARM     0, SCRATCH + 32, 3
        TRY     L64_0
        mov     ss, [rbx + 32]
        nop
n:      nop
        END
        HIT     1, n                    ; qemu-deviates: traps right after MOV SS
        ; Ports need CR4.DE.
        CR      cr4, CR4_DE, 0
        mov     qword [in_rdx], 0x80
        ARM     0, 0x80, 2
        TRY     L64_0
        out     dx, al
o:      nop
        END
        HIT     1, o
        ARM     0, 0x80, 2
        TRY     L64_0
        in      al, dx
p:      nop
        END
        HIT     1, p
        ; DR4 and DR5 are #UD with DE, else aliases.
        TRY     L64_0
        db      0x0f, 0x21, 0xe0
        END
        EXPECT  UD, NOERR
        CR      cr4, 0, CR4_DE
        SET_DR  dr7, 0x400
        TRY     L64_0
        db      0x0f, 0x21, 0xe8        ; mov rax, dr5
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xffff, 0x400
        ; GD: any access is a #DB fault with BD; the handler runs with GD clear.
        SET_DR  dr6, 0xffff0ff0
        SET_DR  dr7, 0x2400
        TRY     L64_0
        mov     rax, dr3
        END
        EXPECT  DB_, NOERR
        mov     rax, dr7
        CHECK_EQ32 eax, 0x400
        mov     rax, dr6
        CHECK_BITS32 eax, 0x2000, 0x2000
        SET_DR  dr6, 0xffff0ff0
        ; Reserved bits: fixed on reading, #GP on writing the high half.
        SET_DR  dr7, 0
        mov     rax, dr7
        CHECK_EQ32 eax, 0x400
        SET_DR  dr6, 0
        mov     rax, dr6
        CHECK_BITS32 eax, 0xfffe0ff0, 0xfffe0ff0        ; bits that say "always one"
        mov     rax, 0x100000000
        mov     [in_rax], rax
        TRY     L64_0
        mov     dr7, rax
        END
        EXPECT  GP, 0                   ; qemu-deviates: no check
        TRY     L64_0
        mov     dr6, rax
        END
        EXPECT  GP, 0                   ; qemu-deviates: no check
        TRY     L64_0
        mov     dr0, rax
        mov     rbx, dr0
        END
        EXPECT_OK
        CHECK_EQ [out_rbx], 0x100000000
        TRY     C32_3
        mov     eax, dr0
        END
        EXPECT  GP, 0
        SET_DR  dr0, 0
        GO_LEGACY
        TRY     V86_3
        mov     eax, dr0
        END
        EXPECT  GP, 0
        mov     eax, q
        mov     dr0, eax
        mov     eax, 0x402
        mov     dr7, eax
        TRY     V86_3
        nop
q:      nop
        END
        EXPECT  DB_, NOERR, q
        mov     eax, r
        mov     dr0, eax
        TRY     REAL
        nop
r:      nop
        END
        EXPECT  DB_, NOERR, r
        mov     eax, 0x400
        mov     dr7, eax
        TEST_END
