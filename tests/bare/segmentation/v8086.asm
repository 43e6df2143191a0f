; covers: IRET.v8086, v8086.interrupts, v8086.entry, v8086.privileged, segmentation.ldt
; expects: interrupts leave V86 mode with a nine-word frame and null segments; only IRET and tasks of ring 0 enter it.
%include "prelude.inc"

        SET_GATE32 0x40, CODE32, handler, 0xee
        TRY     V86_3
        mov     ax, 0x1111
        mov     ds, ax
        mov     ax, 0x2222
        mov     es, ax
        mov     ax, 0x3333
        mov     fs, ax
        mov     ax, 0x4444
        mov     gs, ax
        int     0x40
        END
        EXPECT_OK                               ; the handler came back with IRET
        CHECK_EQ32 [out_rbp], RING0_STACK - 36
        CHECK_EQ32 [RING0_STACK - 36], LAST_END - image_start
        CHECK_BITS32 [RING0_STACK - 32], 0xffff, IMAGE >> 4
        CHECK_BITS32 [RING0_STACK - 28], FL_VM | FL_IOPL3, FL_VM | FL_IOPL3
        CHECK_BITS32 [RING0_STACK - 24], 0xffff, SNIP_SP16
        CHECK_BITS32 [RING0_STACK - 20], 0xffff, IMAGE >> 4
        CHECK_BITS32 [RING0_STACK - 16], 0xffff, 0x2222
        CHECK_BITS32 [RING0_STACK - 12], 0xffff, 0x1111
        CHECK_BITS32 [RING0_STACK - 8], 0xffff, 0x3333
        CHECK_BITS32 [RING0_STACK - 4], 0xffff, 0x4444
        CHECK_EQ32 [seen], 0                    ; DS, ES, FS, GS in the handler
        CHECK_EQ32 [seen + 4], 0
        CHECK_EQ32 [seen + 8], CODE32
        CHECK_BITS32 [seen + 12], FL_VM | FL_IF | FL_TF | FL_IOPL3, FL_IOPL3
        CHECK_EQ32 [out_ds], 0x1111
        CHECK_EQ32 [out_gs], 0x4444
        ; The gate must lead to ring 0: not conforming, not ring 3.
        SET_GATE32 0x41, CONFORMING, handler, 0xee
        TRY     V86_3
        int     0x41
        END
        EXPECT  GP, CONFORMING
        SET_GATE32 0x41, UCODE32, handler, 0xee
        TRY     V86_3
        int     0x41
        END
        EXPECT  GP, UCODE32 & ~3                ; bochs-deviates: with the vector; qemu-deviates: enters ring 3
        ; IRET to V86 mode needs ring 0: VM in the image is ignored in ring 3 and in V86 mode itself.
        TRY     PM32_3
        push    dword FL_VM | FL_FIX
        push    dword UCODE32
        push    dword landing
        iretd
        END
        EXPECT  UD, NOERR, landing  ; qemu-deviates: takes VM in ring 3
        EXPECT_FLAG FL_VM, 0  ; qemu-deviates: takes VM in ring 3
        TRY     V86_3
        push    dword FL_FIX
        push    dword IMAGE >> 4
        push    dword landing - image_start
        o32 iret
        END
        EXPECT  UD, NOERR, landing
        EXPECT_FLAG FL_VM | FL_IOPL3, FL_VM | FL_IOPL3
        TRY     V86_0
        push    word FL_FIX
        push    cs
        push    word landing - image_start
        AT
        iret
        END
        EXPECT  GP, 0
        ; POPF cannot set VM anywhere.
        TRY     PM32_0
        push    dword FL_VM | FL_FIX
        popfd
        END
        EXPECT_OK
        EXPECT_FLAG FL_VM, 0
        ; Instructions that do not exist in V86 mode, and the ones that need ring 0.
%macro UNDEFINED 1+
        TRY     V86_3
        %1
        END
        EXPECT  UD, NOERR
%endmacro
        UNDEFINED lar ax, bx
        UNDEFINED lsl ax, bx
        UNDEFINED verr bx
        UNDEFINED verw bx
        UNDEFINED arpl ax, bx
        UNDEFINED sldt ax
        UNDEFINED str ax
        UNDEFINED lldt ax
        UNDEFINED ltr ax
        TRY     V86_3
        hlt
        END
        EXPECT  GP, 0
        TRY     V86_3                           ; LOCK prefix does not make CLI sensitive
        cli
        sti
        END
        EXPECT_OK
        ; Exceptions carry error codes and leave the same frame.
        mov     dword [SNIP_STACK - 4], 0
        TRY     V86_0
        mov     bx, 0
        AT
        div     bx
        END
        EXPECT  DE, NOERR
        EXPECT_FLAG FL_VM, FL_VM
        CHECK_EQ32 [out_cs], IMAGE >> 4
        ; ARPL in protected mode.
        TRY     PM32_3
        mov     eax, 0x10
        mov     ebx, 0x23
        arpl    ax, bx
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x13
        EXPECT_FLAG FL_ZF, FL_ZF
        ; LDT descriptors.
        SET_DESC LDT + 8, SCRATCH, 0xfff, A_UDATA, F_B
        mov     eax, LDT_SEL
        lldt    ax
        mov     dword [SCRATCH + 4], 0x1d71d71d
        TRY     PM32_3
        mov     ecx, 8 | 4 | 3
        mov     fs, ecx
        mov     eax, [fs:4]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x1d71d71d
        TRY     PM32_3
        mov     ecx, 0x1000 | 4 | 3
        AT
        mov     fs, ecx
        END
        EXPECT  GP, 0x1004
        jmp     done32
handler:
        mov     ebp, esp
        xor     eax, eax
        mov     ax, ds
        mov     cx, es
        shl     ecx, 16
        or      eax, ecx
        push    eax
        xor     eax, eax
        mov     ax, fs
        mov     cx, gs
        shl     ecx, 16
        or      eax, ecx
        push    eax
        mov     eax, DATA32
        mov     ds, eax
        pop     dword [seen + 4]
        pop     dword [seen]
        mov     eax, cs
        mov     [seen + 8], eax
        pushfd
        pop     dword [seen + 12]
        iretd
landing: ud2
seen:   dd      0, 0, 0, 0
done32: TEST_END
