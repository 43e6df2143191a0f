; covers: INT.real, IRET.real, modes.ivt, LIDT.real
; expects: real mode interrupts push FLAGS, CS, IP, clear IF and TF, use the table IDTR names and fault beyond its limit.
%include "prelude.inc"

        mov     dword [0x60 * 4], (IMAGE >> 4) << 16
        mov     eax, handler
        mov     [0x60 * 4], ax
        SET_FLAGS FL_IF | FL_CF
        TRY     REAL
        mov     cx, 5
        int     0x60
        pushf
        pop     dx
        END
        EXPECT_OK
        CHECK_BITS32 [out_rcx], 0xffff, 6
        CHECK_BITS32 [out_rbx], FL_IF | FL_TF | FL_CF, FL_CF            ; in the handler
        CHECK_BITS32 [out_rdx], FL_IF | FL_CF, FL_IF | FL_CF
        CHECK_BITS32 [SNIP_STACK - 2], FL_IF | FL_CF, FL_IF | FL_CF
        CHECK_BITS32 [SNIP_STACK - 4], 0xffff, IMAGE >> 4
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16
        ; Another table, by LIDT; a vector outside it is #GP, here served by that table.
        mov     esi, 0
        mov     edi, FREE_PAGES
        mov     ecx, 256
        rep movsd
        mov     eax, other
        mov     [FREE_PAGES + 0x60 * 4], ax
        mov     dword [SCRATCH], 0x3ff | (FREE_PAGES & 0xffff) << 16
        mov     dword [SCRATCH + 4], FREE_PAGES >> 16
        TRY     REAL
        o32 lidt [SCRATCH16]
        int     0x60
        END
        EXPECT_OK
        CHECK_BITS32 [out_rsi], 0xffff, 0x7777
        mov     word [SCRATCH], 0x60 * 4 - 1
        TRY     REAL
        o32 lidt [SCRATCH16]
        AT
        int     0x60
        END
        EXPECT  GP, 0
        mov     word [SCRATCH], 0x60 * 4 + 3
        TRY     REAL
        o32 lidt [SCRATCH16]
        int     0x60
        END
        EXPECT_OK
        ; Exceptions have no error code; divide errors return to the instruction.
        TRY     REAL
        xor     bx, bx
        AT
        div     bl
        END
        EXPECT  DE, NOERR
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16
        TRY     REAL
        mov     ax, 5
        bound   ax, [bounds]
        END
        EXPECT_OK
        TRY     REAL
        mov     ax, 8
        AT
        bound   ax, [bounds]
        END
        EXPECT  BR, NOERR
        TRY     REAL
        mov     al, 0x7f
        add     al, 1
        into
        END
        EXPECT_TRAP OF
        ; IRET with a 32-bit frame keeps VM, VIF and VIP out.
        TRY     REAL
        push    dword FL_VM | FL_VIF | FL_AC | FL_CF | FL_FIX
        push    dword IMAGE >> 4
        push    dword landing - image_start
        o32 iret
        END
        CHECK_EQ32 [out_rip], landing - image_start
        ; Protected mode BOUND.
        mov     dword [SCRATCH], 3
        mov     dword [SCRATCH + 4], 7
        TRY     PM32_3
        mov     eax, 2
        AT
        bound   eax, [SCRATCH]
        END
        EXPECT  BR, NOERR
        TRY     PM32_3
        mov     eax, 7
        bound   eax, [SCRATCH]
        END
        EXPECT_OK
        jmp     done32
    bits 16
handler:
        inc     cx
        pushf
        pop     bx
        iret
other:  mov     si, 0x7777
        iret
landing: ud2
    bits 32
bounds: dw      3, 7
done32: TEST_END
