; Boot sector that loads a flat Multiboot image from the following sectors to 1 MiB and enters it, for Bochs.
    org 0x7c00
    bits 16
start:  cli
        xor     ax, ax
        mov     ds, ax
        mov     ss, ax
        mov     sp, 0x7c00
        sti
        mov     ah, 0x42
        mov     si, packet
        int     0x13                            ; first 63 sectors
        mov     word [packet.segment], 0x2000 + 63 * 32
        mov     byte [packet.lba], 64
        mov     ah, 0x42
        mov     si, packet
        int     0x13
        cli
        in      al, 0x92
        or      al, 2
        out     0x92, al
        lgdt    [gdtr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     8:flat
    bits 32
flat:   mov     ax, 16
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, 0x7c00
        mov     esi, 0x20000
        mov     edi, 0x100000
        mov     ecx, 126 * 512 / 4
        rep movsd
        mov     eax, 0x2badb002
        jmp     [0x100000 + 28]
        align 4
packet: db      16, 0
        dw      63, 0
.segment: dw    0x2000
.lba:   dq      1
gdt:    dq      0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:   dw      23
        dd      gdt
        times   510 - ($ - $$) db 0
        dw      0xaa55
