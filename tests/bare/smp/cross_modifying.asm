; cpus: 4
; covers: smp.cross_modifying_code, smp.cross_modifying_after_ipi, smp.new_code
; expects: code that one processor writes is what others execute once they have been told and have serialized.
; SDM 3A 8.1.3.
%include "prelude.inc"
%include "apic.inc"
%include "smp.inc"

CODE_PAGE equ FREE_PAGES                ; mov eax, imm32; ret
VERSION   equ FREE_PAGES + 0x1000       ; of the code, written after it
READ_BY   equ FREE_PAGES + 0x1040       ; how many have run the current version
BAD       equ FREE_PAGES + 0x1080
FRESH     equ FREE_PAGES + 0x10000      ; a new page for each version
VERSIONS  equ 100

        jmp     begin
    bits 64
; Processor 0 changes the operand; the others, told by VERSION, serialize and call.
same_place:
        xor     r12d, r12d
        test    ebx, ebx
        jnz     reader
.next:  inc     r12d
        mov     dword [READ_BY], 0
        mov     [CODE_PAGE + 1], r12d
        mov     [VERSION], r12d
        call    await_readers
        cmp     r12d, VERSIONS
        jb      .next
        ret
reader:
        inc     r12d
.wait:  pause
        cmp     [VERSION], r12d
        jne     .wait
        push    rbx
        xor     eax, eax
        cpuid
        pop     rbx
        mov     r13d, CODE_PAGE
        call    r13
        call    compare
        cmp     r12d, VERSIONS
        jb      reader
        ret

; Each version is written to a page that nobody has executed, without anything that serializes.
new_places:
        xor     r12d, r12d
        mov     r13d, FRESH
        test    ebx, ebx
        jnz     .reader
.next:  inc     r12d
        mov     dword [READ_BY], 0
        mov     byte [r13], 0xb8
        mov     [r13 + 1], r12d
        mov     byte [r13 + 5], 0xc3
        mov     [VERSION], r12d
        call    await_readers
        add     r13d, 0x1000
        cmp     r12d, VERSIONS
        jb      .next
        ret
.reader:
        inc     r12d
.wait:  pause
        cmp     [VERSION], r12d
        jne     .wait
        call    r13
        call    compare
        add     r13d, 0x1000
        cmp     r12d, VERSIONS
        jb      .reader
        ret

await_readers:
        pause
        cmp     dword [READ_BY], SMP_CPUS - 1
        jne     await_readers
        ret
compare:
        cmp     eax, r12d
        je      .fine
        lock inc dword [BAD]
.fine:  lock inc dword [READ_BY]
        ret

    bits 32
begin:
        SMP_START
        mov     byte [CODE_PAGE], 0xb8
        mov     dword [CODE_PAGE + 1], 0
        mov     byte [CODE_PAGE + 5], 0xc3
        mov     dword [BAD], 0
        mov     dword [VERSION], 0
        mov     dword [READ_BY], 0
        SMP_RUN same_place
        CHECK_EQ32 [BAD], 0
        mov     dword [VERSION], 0
        mov     dword [READ_BY], 0
        SMP_RUN new_places
        CHECK_EQ32 [BAD], 0
        TEST_END
