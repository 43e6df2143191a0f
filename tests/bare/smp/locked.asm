; cpus: 4
; covers: smp.start, smp.locked_increment, smp.locked_xadd, smp.locked_cmpxchg, smp.locked_cmpxchg16b, smp.locked_bits,
; covers: smp.xchg_lock, smp.locked_adc, smp.locked_split, smp.locked_beside_code
; expects: nothing is lost when four processors change the same memory by locked instructions.
%include "prelude.inc"
%include "apic.inc"
%include "smp.inc"

COUNTERS equ FREE_PAGES                 ; a cache line each
ROUNDS   equ 30000
%define AT_LINE(n) COUNTERS + 64 * (n)
SPLIT    equ FREE_PAGES + 0x3000 - 3    ; on two pages

        jmp     begin
    bits 64
increments:
        mov     ecx, ROUNDS
.next:  lock inc dword [AT_LINE(0)]
        mov     eax, 3
        lock xadd [AT_LINE(1)], eax
        clc
        lock adc dword [AT_LINE(2)], 1
        lock dec dword [AT_LINE(3)]
        loop    .next
        ret

exchanges:
        mov     ecx, ROUNDS
.next:  mov     eax, [AT_LINE(4)]
.again: lea     edx, [rax + 1]
        lock cmpxchg [AT_LINE(4)], edx
        jne     .again
        push    rcx
        mov     rax, [AT_LINE(5)]
        mov     rdx, [AT_LINE(5) + 8]
.pair:  lea     rbx, [rax + 1]
        lea     rcx, [rdx - 1]
        lock cmpxchg16b [AT_LINE(5)]
        jne     .pair
        pop     rcx
        ; A lock by XCHG, an unlocked increment under it.
.take:  mov     eax, 1
        xchg    [AT_LINE(9)], eax
        test    eax, eax
        jz      .taken
        pause
        jmp     .take
.taken: inc     dword [AT_LINE(6)]
        mov     dword [AT_LINE(9)], 0
        loop    .next
        ret

; Each processor flips its own bits of shared words: an even number of times.
bit_flips:
        mov     ecx, ROUNDS
.next:  lock btc [AT_LINE(7)], ebx
        lock bts [AT_LINE(8)], ebx
        jc      .bad
        lock btr [AT_LINE(8)], ebx
        jnc     .bad
        loop    .next
        ret
.bad:   mov     dword [AT_LINE(7)], -1
        ret

splits:
        mov     ecx, ROUNDS
.next:  lock inc qword [SPLIT]
        loop    .next
        ret

; The counter lies among instructions that run.
beside_code:
        mov     ecx, ROUNDS
        jmp     .next
        align   8
.counter: dd 0
.next:  lock inc dword [beside_code.counter]
        loop    .next
        ret

    bits 32
begin:
        SMP_START
        SMP_RUN increments
        CHECK_EQ32 [AT_LINE(0)], SMP_CPUS * ROUNDS
        CHECK_EQ32 [AT_LINE(1)], 3 * SMP_CPUS * ROUNDS
        CHECK_EQ32 [AT_LINE(2)], SMP_CPUS * ROUNDS
        CHECK_EQ32 [AT_LINE(3)], -(SMP_CPUS * ROUNDS)
        SMP_RUN exchanges
        CHECK_EQ32 [AT_LINE(4)], SMP_CPUS * ROUNDS
        CHECK_EQ [AT_LINE(5)], SMP_CPUS * ROUNDS
        CHECK_EQ [AT_LINE(5) + 8], -(SMP_CPUS * ROUNDS)
        CHECK_EQ32 [AT_LINE(6)], SMP_CPUS * ROUNDS
        SMP_RUN bit_flips
        CHECK_EQ32 [AT_LINE(7)], 0
        CHECK_EQ32 [AT_LINE(8)], 0
        mov     dword [SPLIT], 0
        mov     dword [SPLIT + 4], 0
        SMP_RUN splits
        CHECK_EQ [SPLIT], SMP_CPUS * ROUNDS
        SMP_RUN beside_code
        CHECK_EQ32 [beside_code.counter], SMP_CPUS * ROUNDS
        TEST_END
