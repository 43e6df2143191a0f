; covers: platform.pm_timer, platform.acpi_tables
; expects: the RSDP is in the BIOS area, tables have valid checksums, and the PM timer of the FADT grows monotonically.
%include "prelude.inc"

        mov     esi, 0xe0000
.scan:  cmp     dword [esi], 'RSD '
        jne     .next
        cmp     dword [esi + 4], 'PTR '
        je      .found
.next:  add     esi, 16
        cmp     esi, 0x100000
        jb      .scan
        mov     dword [skip_reason], .no_tables
        jmp     skip_test32
.found: mov     ecx, 20
        mov     edi, esi
        call    checksum
        CHECK_EQ32 eax, 0
        mov     esi, [esi + 16]                 ; RSDT
        CHECK_EQ32 [esi], 'RSDT'
        mov     ecx, [esi + 4]
        mov     edi, esi
        call    checksum
        CHECK_EQ32 eax, 0
        mov     ebp, [esi + 4]
        add     ebp, esi
        add     esi, 36
.table: cmp     esi, ebp
        jae     .missing
        mov     edi, [esi]
        add     esi, 4
        cmp     dword [edi], 'FACP'
        jne     .table
        mov     ebx, edi
        mov     ecx, [edi + 4]
        call    checksum
        CHECK_EQ32 eax, 0
        mov     edx, [ebx + 76]                 ; PM_TMR_BLK
        movzx   eax, byte [ebx + 91]            ; PM_TMR_LEN
        CHECK_EQ32 eax, 4
        mov     ebx, [ebx + 112]                ; flags: bit 8 says 32 bits wide
        ; 24 bits compare modulo 2^24; no step may be backwards, and it must move.
        mov     ecx, 20000
        in      eax, dx
        mov     esi, eax
        mov     edi, eax
.read:  in      eax, dx
        mov     ebp, eax
        sub     eax, esi
        test    eax, 0x800000
        jnz     .back
        mov     esi, ebp
        loop    .read
.back:  CHECK_EQ32 ecx, 0
        sub     esi, edi
        and     esi, 0xffffff
        setnz   al
        movzx   eax, al
        CHECK_EQ32 eax, 1
        jmp     .done
.missing:
        CHECK_EQ32 0, 'FACP'
.done:  jmp     done32
.no_tables: db  'ACPI tables', 0
; edi = table, ecx = bytes: eax = their sum modulo 256.
checksum:
        xor     eax, eax
.byte:  add     al, [edi]
        inc     edi
        loop    .byte
        ret
done32: TEST_END
