; covers: INT, INT3, INTO, sensitive.INT, v8086.redirection
; expects: INT n needs gate DPL >= CPL; V86 needs IOPL 3 or VME redirection; the error code is 8 * vector + 2.
%include "prelude.inc"

%macro CASES 1
        GATE_DPL 0x40, 3
        TRY     %1
        int     0x40
        END
    %if %1 == V86_0
        EXPECT  GP, 0
    %else
        EXPECT_TRAP 0x40
    %endif
        GATE_DPL 0x40, 0
        TRY     %1
        int     0x40
        END
    %if %1 == V86_0
        EXPECT  GP, 0
    %elif IS_RING3(%1)
        EXPECT  GP, 0x40 * 8 + 2        ; qemu-deviates: 16 times the vector in long mode
    %else
        EXPECT_TRAP 0x40
    %endif
        ; INT 3 as CD 03 is as sensitive as any; the one-byte form ignores IOPL, but not the gate's DPL.
        GATE_DPL 3, 3
        TRY     %1
        db      0xcd, 3
        END
    %if %1 == V86_0
        EXPECT  GP, 0
    %else
        EXPECT_TRAP 3
    %endif
        TRY     %1
        int3
        END
        EXPECT_TRAP 3
        GATE_DPL 3, 0
        TRY     %1
        int3
        END
    %if IS_RING3(%1)
        EXPECT  GP, 3 * 8 + 2           ; qemu-deviates: 16 times the vector in long mode
    %else
        EXPECT_TRAP 3
    %endif
    %if !IS_64(%1)
        GATE_DPL 4, 3
        TRY     %1
        into
        END
        EXPECT_OK
        SET_FLAGS 0x800
        TRY     %1
        into
        END
        EXPECT_TRAP 4
        GATE_DPL 4, 0
      %if IS_RING3(%1)
        SET_FLAGS 0x800
        TRY     %1
        into
        END
        EXPECT  GP, 4 * 8 + 2           ; qemu-deviates: 16 times the vector in long mode
      %endif
    %else
        TRY     %1
        db      0xce
        END
        EXPECT  UD, NOERR
    %endif
        ; INT1 (F1) is a #DB without a DPL check.
        TRY     %1
        db      0xf1
        END
    %if %1 != REAL
        EXPECT_TRAP 1           ; qemu-deviates: no INT1
    %endif
%endmacro
        OVER_ALL CASES
        GO_LEGACY
        ; Gate not present, wrong type, beyond the limit.
        mov     byte [IDT32 + 0x41 * 8 + 5], 0x6e
        TRY     PM32_3
        int     0x41
        END
        EXPECT  NP, 0x41 * 8 + 2
        mov     byte [IDT32 + 0x42 * 8 + 5], 0xec
        TRY     PM32_3
        int     0x42
        END
        EXPECT  GP, 0x42 * 8 + 2
        mov     byte [IDT32 + 0x41 * 8 + 5], 0x0e
        TRY     PM32_3
        int     0x41
        END
        EXPECT  GP, 0x41 * 8 + 2                        ; privilege before presence
        mov     word [idtr32], 0x3ff
        lidt    [idtr32]
        TRY     PM32_0
        int     0x80
        END
        EXPECT  GP, 0x80 * 8 + 2
        mov     word [idtr32], 0x3fe
        lidt    [idtr32]
        TRY     PM32_0
        int     0x7f
        END
        EXPECT  GP, 0x7f * 8 + 2
        mov     word [idtr32], 0x7ff
        lidt    [idtr32]
        mov     byte [IDT32 + 0x42 * 8 + 5], 0x8e
        mov     byte [IDT32 + 0x41 * 8 + 5], 0x8e
        mov     word [IDT32 + 0x41 * 8 + 2], 0          ; null and bad target selectors
        TRY     PM32_0
        int     0x41
        END
        EXPECT  GP, 0
        mov     word [IDT32 + 0x41 * 8 + 2], DATA32
        TRY     PM32_0
        int     0x41
        END
        EXPECT  GP, DATA32
        mov     word [IDT32 + 0x41 * 8 + 2], NP_CODE
        TRY     PM32_0
        int     0x41
        END
        EXPECT  NP, NP_CODE
        mov     word [IDT32 + 0x41 * 8 + 2], UCODE32
        TRY     PM32_0
        int     0x41
        END
        EXPECT  GP, UCODE32 & ~3

        GO_LEGACY
        NEED_OR F_VME, 'vme', done
        CR4_BOTH CR4_VME
        ; Redirection bit clear: the interrupt goes through the table at 0 inside V86 mode.
        mov     word [0x40 * 4], v86_handler - image_start
        mov     word [0x40 * 4 + 2], IMAGE >> 4
        mov     byte [TSS32_REDIR + 8], 0xfe
%macro REDIRECTED 3             ; mode, flags, pushed flags
        SET_FLAGS %2
        TRY     %1
        int     0x40
        END
        CHECK_EQ32 [out_vec], UD
        CHECK_EQ32 [out_rip], v86_handler - image_start
        CHECK_BITS32 [SNIP_STACK - 2], 0xffff, %3
        CHECK_BITS32 [SNIP_STACK - 4], 0xffff, IMAGE >> 4
        CHECK_BITS32 [SNIP_STACK - 6], 0xffff, LAST_END - image_start
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 6
%endmacro
        REDIRECTED V86_3, FL_IF | FL_CF, FL_IF | FL_CF | FL_IOPL3 | FL_FIX
        EXPECT_FLAG FL_IF | FL_TF | FL_VM, FL_VM
        REDIRECTED V86_0, FL_IF | FL_VIF, FL_IF | FL_IOPL3 | FL_FIX
        EXPECT_FLAG FL_IF | FL_VIF | FL_VM, FL_IF | FL_VM
        REDIRECTED V86_0, FL_IF, FL_IOPL3 | FL_FIX
        TRY     V86_0                                   ; bit set and IOPL below 3
        int     0x41
        END
        EXPECT  GP, 0
        jmp     done
v86_handler:
        ud2
done:   TEST_END
