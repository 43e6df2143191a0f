; cpus: 4
; covers: smp.store_buffering, smp.message_passing, smp.load_buffering, smp.iriw, smp.mfence, smp.locked_barrier
; expects: only what SDM 3A 8.2.3 allows: loads are not reordered with loads, nor stores with stores, nor stores with
; older loads; MFENCE and locked instructions keep a store before a later load; stores reach all others in one order.
%include "prelude.inc"
%include "apic.inc"
%include "smp.inc"

SLOTS  equ 256                          ; experiments of one round, a cache line each
X      equ FREE_PAGES                   ; by slot
Y      equ FREE_PAGES + 0x10000
SEEN   equ FREE_PAGES + 0x20000         ; what processor n read: SEEN + 16 n, + 8
GATE   equ FREE_PAGES + 0x30000         ; the meeting that may end
READY  equ FREE_PAGES + 0x30080         ; processors that have come to a meeting
BAD    equ FREE_PAGES + 0x300c0         ; forbidden outcomes
ROUNDS equ 24

; Meets the others: all leave together. r15d counts the meetings.
%macro MEET 0
        inc     r15d
        mov     eax, 1
        lock xadd [READY], eax
        inc     eax
        and     eax, SMP_CPUS - 1
        jz      %%last
%%wait: pause
        cmp     [GATE], r15d
        jne     %%wait
        jmp     %%go
%%last: mov     dword [GATE], r15d
%%go:
%endmacro

        jmp     begin
    bits 64
; Runs the body at r8 (this processor's) over all slots, r14 = offset of the slot, ROUNDS times; processor 0 judges
; each slot by r9.
iterate:
        xor     r15d, r15d
        mov     r13d, ROUNDS
.next:  lea     rax, [rel clear]
        call    for_first
        MEET
        mov     rax, r8
        call    for_slots
        MEET
        mov     rax, r9
        call    for_first
        MEET
        dec     r13d
        jnz     .next
        ret

; Calls rax for each slot; for_first only on processor 0.
for_first:
        test    ebx, ebx
        jz      for_slots
        ret
for_slots:
        mov     r12, rax
        xor     r14d, r14d
.next:  call    r12
        add     r14d, 64
        cmp     r14d, 64 * SLOTS
        jb      .next
        ret
clear:  mov     dword [X + r14], 0
        mov     dword [Y + r14], 0
nothing:
        ret

%macro BODIES 4                 ; of processors 0..3
        lea     r8, [rel %1]
        lea     rax, [rel %2]
        cmp     ebx, 1
        cmove   r8, rax
        lea     rax, [rel %3]
        cmp     ebx, 2
        cmove   r8, rax
        lea     rax, [rel %4]
        cmp     ebx, 3
        cmove   r8, rax
%endmacro

%define SEEN0 SEEN + r14
%define SEEN1 SEEN + r14 + 16
%define SEEN2 SEEN + r14 + 32
%define SEEN3 SEEN + r14 + 48

; Both stores, both later loads: with a barrier between, not both may miss. SDM 3A 8.2.3.4 and 8.2.3.9.
%macro STORE_BUFFERING 2+       ; name, barrier
%1:
        BODIES  .p0, .p1, nothing, nothing
        lea     r9, [rel both_missed]
        jmp     iterate
.p0:    mov     dword [X + r14], 1
        %2
        mov     eax, [Y + r14]
        mov     [SEEN0], eax
        ret
.p1:    mov     dword [Y + r14], 1
        %2
        mov     eax, [X + r14]
        mov     [SEEN1], eax
        ret
%endmacro
        STORE_BUFFERING store_buffering_mfence, mfence
        STORE_BUFFERING store_buffering_locked, lock add dword [rsp - 8], 0
both_missed:
        mov     eax, [SEEN0]
        or      eax, [SEEN1]
        jnz     .fine
        inc     dword [BAD]
.fine:  ret

; The store itself locked. SDM 3A 8.2.3.9.
store_buffering_xchg:
        BODIES  .p0, .p1, nothing, nothing
        lea     r9, [rel both_missed]
        jmp     iterate
.p0:    mov     eax, 1
        xchg    [X + r14], eax
        mov     eax, [Y + r14]
        mov     [SEEN0], eax
        ret
.p1:    mov     eax, 1
        xchg    [Y + r14], eax
        mov     eax, [X + r14]
        mov     [SEEN1], eax
        ret

; Who sees the second store sees the first. SDM 3A 8.2.3.2.
message_passing:
        BODIES  .p0, .p1, nothing, nothing
        lea     r9, [rel .judge]
        jmp     iterate
.p0:    mov     dword [X + r14], 1
        mov     dword [Y + r14], 1
        ret
.p1:    mov     eax, [Y + r14]
        mov     edx, [X + r14]
        mov     [SEEN1], eax
        mov     [SEEN1 + 8], edx
        ret
.judge: cmp     dword [SEEN1], 0
        je      .fine
        cmp     dword [SEEN1 + 8], 0
        jne     .fine
        inc     dword [BAD]
.fine:  ret

; Loads before stores: not both may see what the other stores later. SDM 3A 8.2.3.3.
load_buffering:
        BODIES  .p0, .p1, nothing, nothing
        lea     r9, [rel .judge]
        jmp     iterate
.p0:    mov     eax, [X + r14]
        mov     dword [Y + r14], 1
        mov     [SEEN0], eax
        ret
.p1:    mov     eax, [Y + r14]
        mov     dword [X + r14], 1
        mov     [SEEN1], eax
        ret
.judge: mov     eax, [SEEN0]
        and     eax, [SEEN1]
        jz      .fine
        inc     dword [BAD]
.fine:  ret

; Two writers, two readers: the readers agree on the order. SDM 3A 8.2.3.7.
iriw:
        BODIES  .p0, .p1, .p2, .p3
        lea     r9, [rel .judge]
        jmp     iterate
.p0:    mov     dword [X + r14], 1
        ret
.p1:    mov     dword [Y + r14], 1
        ret
.p2:    mov     eax, [X + r14]
        mov     edx, [Y + r14]
        mov     [SEEN2], eax
        mov     [SEEN2 + 8], edx
        ret
.p3:    mov     eax, [Y + r14]
        mov     edx, [X + r14]
        mov     [SEEN3], eax
        mov     [SEEN3 + 8], edx
        ret
.judge: mov     eax, [SEEN2]
        and     eax, [SEEN3]
        jz      .fine                           ; not both saw the first of theirs
        mov     eax, [SEEN2 + 8]
        or      eax, [SEEN3 + 8]
        jnz     .fine
        inc     dword [BAD]
.fine:  ret

    bits 32
begin:
; LITMUS name: body of processor 0..3 at name.p0 .. name.p3, judgement by processor 0 at name.judge.
%macro LITMUS 1
        mov     dword [BAD], 0
        mov     dword [GATE], 0
        SMP_RUN %1
        CHECK_EQ32 [BAD], 0
%endmacro

        SMP_START
        LITMUS  store_buffering_mfence
        LITMUS  store_buffering_locked
        LITMUS  store_buffering_xchg
        LITMUS  message_passing
        LITMUS  load_buffering
        LITMUS  iriw
        TEST_END
