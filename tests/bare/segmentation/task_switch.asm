; covers: segmentation.task_switch, JMP.tss, CALL.tss, INT.task_gate, IRET.task, segmentation.busy, segmentation.debug_trap
; expects: hardware task switches save and load the state, follow busy bits, NT, the back link and TS in CR0.
%include "prelude.inc"

OTHER  equ FREE_LOW                     ; the other task
OTHER_SEL equ FREE_SEL
MAIN   equ FREE_LOW + 0x400             ; the task of the snippet
MAIN_SEL equ FREE_SEL + 8
GATE   equ FREE_SEL + 0x10
OTHER_STACK equ FREE_LOW + 0x3000
; PREPARE label: a fresh other task at label in ring 0, the snippet's own task current.
%macro PREPARE 1
        mov     edi, OTHER
        mov     ecx, 0x800 / 4
        xor     eax, eax
        rep stosd
        SET_DESC GDT + OTHER_SEL, OTHER, 0x67, A_TSS, 0
        SET_DESC GDT + MAIN_SEL, MAIN, 0x67, A_TSS, 0
        mov     dword [OTHER + 4], RING0_STACK
        mov     dword [OTHER + 8], DATA32
        mov     dword [MAIN + 4], RING0_STACK
        mov     dword [MAIN + 8], DATA32
        mov     dword [OTHER + 0x20], %1
        mov     dword [OTHER + 0x24], FL_FIX | FL_CF
        mov     dword [OTHER + 0x28], 0xaaaa0000
        mov     dword [OTHER + 0x2c], 0xaaaa0001
        mov     dword [OTHER + 0x30], 0xaaaa0002
        mov     dword [OTHER + 0x34], 0xaaaa0003
        mov     dword [OTHER + 0x38], OTHER_STACK
        mov     dword [OTHER + 0x3c], 0xaaaa0005
        mov     dword [OTHER + 0x40], 0xaaaa0006
        mov     dword [OTHER + 0x44], 0xaaaa0007
        mov     dword [OTHER + 0x48], DATA32
        mov     dword [OTHER + 0x4c], CODE32
        mov     dword [OTHER + 0x50], DATA32
        mov     dword [OTHER + 0x54], DATA32
        mov     dword [OTHER + 0x58], UDATA32
        mov     dword [OTHER + 0x5c], 0
        mov     word [OTHER + 0x66], 0x68
        mov     word [MAIN + 0x66], 0x68
        mov     eax, MAIN_SEL
        ltr     ax
        CR      cr0, 0, CR0_TS
%endmacro
%macro BUSY 2                   ; selector, 1 or 0
        CHECK_BITS32 [GDT + (%1) + 4], 0x200, (%2) * 0x200
%endmacro
        ; JMP to a TSS.
        PREPARE landing
        SET_FLAGS FL_DF | FL_CF
        TRY     PM32_0
        jmp     OTHER_SEL:0x12345678
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_rax], 0xaaaa0000
        CHECK_EQ32 [out_rcx], 0xaaaa0001
        CHECK_EQ32 [out_rdi], 0xaaaa0007
        CHECK_EQ32 [out_rsp], OTHER_STACK
        CHECK_EQ32 [out_fs], UDATA32
        CHECK_EQ32 [out_gs], 0
        EXPECT_FLAG FL_NT | FL_CF | FL_DF, FL_CF
        BUSY    OTHER_SEL, 1
        BUSY    MAIN_SEL, 0
        CHECK_EQ32 [MAIN + 0x20], LAST_END
        CHECK_BITS32 [MAIN + 0x24], FL_DF | FL_CF, FL_DF | FL_CF
        CHECK_EQ32 [MAIN + 0x28], 0xa0a0a0a0
        CHECK_EQ32 [MAIN + 0x38], SNIP_STACK
        CHECK_BITS32 [MAIN + 0x4c], 0xffff, CODE32
        CHECK_BITS32 [OTHER], 0xffff, 0
        str     eax
        CHECK_EQ32 eax, OTHER_SEL
        mov     eax, cr0
        CHECK_BITS32 eax, CR0_TS, CR0_TS
        ; CALL nests: back link, NT, both busy. IRET comes back.
        PREPARE landing
        TRY     PM32_0
        call    OTHER_SEL:0
        END
        EXPECT  UD, NOERR, landing
        EXPECT_FLAG FL_NT, FL_NT
        CHECK_BITS32 [OTHER], 0xffff, MAIN_SEL
        BUSY    OTHER_SEL, 1
        BUSY    MAIN_SEL, 1
        PREPARE return
        TRY     PM32_0
        call    OTHER_SEL:0
        mov     edx, 0x600d
        END
        EXPECT_OK
        CHECK_EQ32 [out_rdx], 0x600d
        CHECK_EQ32 [out_rax], 0xa0a0a0a0
        EXPECT_FLAG FL_NT, 0
        BUSY    OTHER_SEL, 0
        BUSY    MAIN_SEL, 1
        CHECK_EQ32 [OTHER + 0x20], return.after
        CHECK_BITS32 [OTHER + 0x24], FL_NT, 0           ; saved without NT
        CHECK_EQ32 [OTHER + 0x28], 0x1234
        ; Through a task gate in the GDT from ring 3, and in the IDT.
        PREPARE landing
        SET_CALL_GATE GDT + GATE, OTHER_SEL, 0, 0xe5, 0
        TRY     PM32_3
        call    GATE:0
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], CODE32
        PREPARE landing
        TRY     PM32_3
        call    OTHER_SEL:0                             ; the TSS itself has DPL 0
        END
        EXPECT  GP, OTHER_SEL
        PREPARE landing
        SET_GATE32 0x40, OTHER_SEL, 0, 0xe5
        TRY     PM32_3
        int     0x40
        END
        EXPECT  UD, NOERR, landing
        EXPECT_FLAG FL_NT, FL_NT
        CHECK_EQ32 [MAIN + 0x20], LAST_END
        CHECK_BITS32 [MAIN + 0x4c], 0xffff, UCODE32
        CHECK_EQ32 [out_rsp], OTHER_STACK
        ; An exception with an error code pushes it on the new task's stack.
        PREPARE landing
        SET_GATE32 GP, OTHER_SEL, 0, 0x85
        TRY     PM32_3
        mov     eax, DATA32
        AT
        mov     ds, eax
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_rsp], OTHER_STACK - 4
        CHECK_EQ32 [OTHER_STACK - 4], DATA32
        SET_GATE32 GP, CODE32, STUBS32 + GP * 16, 0x8e
        ; Busy target: JMP and CALL are #GP; through a gate as well; IRET needs busy.
        PREPARE landing
        TRY     PM32_0
        jmp     MAIN_SEL:0
        END
        EXPECT  GP, MAIN_SEL
        PREPARE landing
        or      byte [GDT + OTHER_SEL + 5], 2
        SET_CALL_GATE GDT + GATE, OTHER_SEL, 0, 0xe5, 0
        TRY     PM32_3
        call    GATE:0
        END
        EXPECT  GP, OTHER_SEL
        PREPARE landing
        mov     word [MAIN], OTHER_SEL
        SET_FLAGS FL_NT
        TRY     PM32_0
        iretd
        END
        EXPECT  TS, OTHER_SEL                           ; not busy
        PREPARE landing
        SET_CALL_GATE GDT + GATE, OTHER_SEL, 0, 0x65, 0
        TRY     PM32_3
        call    GATE:0
        END
        EXPECT  NP, GATE
        and     byte [GDT + OTHER_SEL + 5], 0x7f
        SET_CALL_GATE GDT + GATE, OTHER_SEL, 0, 0xe5, 0
        TRY     PM32_3
        call    GATE:0
        END
        EXPECT  NP, OTHER_SEL
        PREPARE landing
        mov     word [GDT + OTHER_SEL], 0x66            ; one byte too small
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        EXPECT  TS, OTHER_SEL
        ; A bad segment in the new TSS: #TS with its selector, in the new task.
        PREPARE landing
        mov     dword [OTHER + 0x54], 0x1000
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        CHECK_EQ32 [out_vec], TS
        CHECK_EQ32 [out_err], 0x1000
        CHECK_EQ32 [out_rip], landing  ; qemu-deviates: saves the address of the old task
        PREPARE landing
        mov     dword [OTHER + 0x54], NP_DATA
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        CHECK_EQ32 [out_vec], NP
        CHECK_EQ32 [out_err], NP_DATA
        PREPARE landing
        mov     dword [OTHER + 0x4c], DATA32
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        CHECK_EQ32 [out_vec], TS
        CHECK_EQ32 [out_err], DATA32
        ; A task in ring 3, and one in V86 mode.
        PREPARE landing
        mov     dword [OTHER + 0x4c], UCODE32
        mov     dword [OTHER + 0x50], UDATA32
        mov     dword [OTHER + 0x48], UDATA32
        mov     dword [OTHER + 0x54], UDATA32
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], UCODE32
        CHECK_EQ32 [out_ss], UDATA32
        PREPARE landing - image_start
        mov     dword [OTHER + 0x24], FL_FIX | FL_VM
        mov     dword [OTHER + 0x4c], IMAGE >> 4
        mov     dword [OTHER + 0x50], IMAGE >> 4
        mov     dword [OTHER + 0x38], SNIP_SP16
        mov     dword [OTHER + 0x54], 0x1234
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        CHECK_EQ32 [out_vec], UD
        CHECK_EQ32 [out_rip], landing - image_start
        CHECK_EQ32 [out_ds], 0x1234
        EXPECT_FLAG FL_VM, FL_VM
        ; The T bit: #DB before the first instruction, DR6.BT.
        PREPARE landing
        mov     word [OTHER + 0x64], 1
        mov     eax, 0xffff0ff0
        mov     dr6, eax
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        EXPECT  DB_, NOERR, landing                     ; qemu-deviates: no T bit
        mov     eax, dr6
        CHECK_BITS32 eax, 0x8000, 0x8000                ; qemu-deviates: no T bit
        ; Tasks share or change the LDT and CR3 (the latter only under paging).
        PREPARE landing
        mov     word [OTHER + 0x60], LDT_SEL
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        EXPECT  UD, NOERR, landing
        sldt    eax
        CHECK_EQ32 eax, LDT_SEL
        xor     eax, eax
        lldt    ax
        ; 16-bit TSS: words, no FS and GS, high halves of the registers.
        PREPARE landing
        SET_DESC GDT + OTHER_SEL, OTHER, 0x2b, A_TSS16, 0
        mov     edi, OTHER
        mov     ecx, 0x80 / 4
        xor     eax, eax
        rep stosd
        SET_DESC GDT + FREE_SEL + 0x20, IMAGE, 0xffff, A_CODE, F_B
        mov     word [OTHER + 2], RING0_STACK & 0xffff
        mov     word [OTHER + 14], landing - image_start
        mov     word [OTHER + 16], FL_FIX | FL_CF
        mov     word [OTHER + 18], 0xbb00
        mov     word [OTHER + 20], 0xbb01
        mov     word [OTHER + 26], SNIP_SP16
        mov     word [OTHER + 34], DATA16
        mov     word [OTHER + 36], FREE_SEL + 0x20
        mov     word [OTHER + 38], DATA16
        mov     word [OTHER + 40], DATA16
        TRY     PM32_0
        jmp     OTHER_SEL:0
        END
        CHECK_EQ32 [out_vec], UD
        CHECK_EQ32 [out_rip], landing - image_start
        CHECK_BITS32 [out_rax], 0xffff, 0xbb00
        CHECK_BITS32 [out_rcx], 0xffff, 0xbb01
        CHECK_EQ32 [out_ss], DATA16
        EXPECT_FLAG FL_CF, FL_CF
        CHECK_EQ32 [MAIN + 0x20], LAST_END              ; the old one was 32-bit
        ; Long mode cannot be entered with a 16-bit TSS in TR (SDM 3A 9.8.5).
        PREPARE landing
        ; No task switches in long mode: the types do not exist there.
        GO_LONG
        SET_DESC GDT + OTHER_SEL, OTHER, 0x67, A_TSS, 0
        mov     dword [SCRATCH], 0
        mov     word [SCRATCH + 4], OTHER_SEL
        TRY     L64_0
        jmp     dword far [SCRATCH]
        END
        EXPECT  GP, OTHER_SEL
        TRY     C32_0
        call    OTHER_SEL:0
        END
        EXPECT  GP, OTHER_SEL
        mov     byte [IDT64 + 0x41 * 16 + 5], 0x85
        mov     word [IDT64 + 0x41 * 16 + 2], OTHER_SEL
        TRY     L64_0
        int     0x41
        END
        EXPECT  GP, 0x41 * 8 + 2                        ; qemu-deviates: 16 times the vector
        GO_LEGACY
        jmp     done32
landing: ud2
return: mov     eax, 0x1234
        iretd
.after: ud2
done32: TEST_END
