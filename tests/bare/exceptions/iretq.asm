; covers: IRET.long, IRETD, IRETQ, exceptions.iret
; expects: IRETQ returns to every mode and ring, accepts a null SS only for 64-bit code below ring 3, and checks all else.
%include "prelude.inc"

        GO_LONG
; FRAME cs, ss, flags, address: the frame on the snippet's stack; the IRET is where a fault is expected.
%macro FRAME 4
        push    %2
        push    SNIP_STACK - 0x100
        push    %3
        push    %1
        mov     rax, %4
        push    rax
        AT
        iretq
%endmacro
%macro GOES 3                   ; cs, ss, flags
        TRY     L64_0
        FRAME   %1, %2, %3, landing
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], %1
        CHECK_EQ32 [out_ss], %2
        CHECK_EQ32 [out_rsp], SNIP_STACK - 0x100
        EXPECT_FLAG 0x2fed5, (%3) & 0x2fed5
%endmacro
%macro REFUSED 5                ; cs, ss, flags, vector, error code
        TRY     L64_0
        FRAME   %1, %2, %3, landing
        END
        EXPECT  %4, %5
        CHECK_EQ32 [out_rsp], SNIP_STACK - 40
%endmacro
        GOES    CODE64, DATA64, FL_FIX
        GOES    CODE64, 0, FL_FIX | FL_IOPL3 | FL_IF | FL_CF
        GOES    CODE32, DATA32, FL_FIX | FL_NT
        GOES    UCODE64, UDATA64, FL_FIX | FL_DF
        GOES    UCODE32, UDATA32, FL_FIX | FL_IOPL3
        SET_DESC GDT + FREE_SEL, 0, 0xfffff, 0xfa, F_G
        GOES    FREE_SEL | 3, UDATA32, FL_FIX
        REFUSED UCODE64, 3, FL_FIX, GP, 0               ; null SS in ring 3
        REFUSED UCODE32, 3, FL_FIX, GP, 0               ; qemu-deviates: accepts a null SS in compatibility mode
        REFUSED CODE32, 0, FL_FIX, GP, 0                ; qemu-deviates: accepts a null SS for compatibility mode
        REFUSED 0, DATA64, FL_FIX, GP, 0
        REFUSED 3, UDATA64, FL_FIX, GP, 0
        REFUSED UCODE64 & ~3, UDATA64, FL_FIX, GP, UCODE64 & ~3
        REFUSED CODE64 | 3, UDATA64, FL_FIX, GP, CODE64
        REFUSED UCODE64, DATA64, FL_FIX, GP, DATA64
        REFUSED UCODE64, UDATA64 & ~3, FL_FIX, GP, UDATA64 & ~3
        REFUSED UCODE64, UCODE64, FL_FIX, GP, UCODE64 & ~3
        REFUSED NP_CODE, DATA64, FL_FIX, NP, NP_CODE
        REFUSED DATA64, DATA64, FL_FIX, GP, DATA64
        REFUSED 0x1000, DATA64, FL_FIX, GP, 0x1000
        SET_DESC GDT + FREE_SEL, 0, 0xfffff, 0x72, F_G | F_B
        REFUSED UCODE64, FREE_SEL | 3, FL_FIX, NP, FREE_SEL
        SET_DESC GDT + FREE_SEL, 0, 0xfffff, 0x9a, F_G | F_B | F_L
        REFUSED FREE_SEL, DATA64, FL_FIX, GP, FREE_SEL  ; qemu-deviates: takes CS with L and D
        TRY     L64_0
        FRAME   UCODE64, UDATA64, FL_FIX, 0x800000000000
        END
        EXPECT  GP, 0                                   ; qemu-deviates: faults at the target
        TRY     L64_0
        FRAME   UCODE32, UDATA32, FL_FIX, 0x100000000 + landing
        END
        CHECK_EQ32 [out_cs], UCODE32                    ; bochs-deviates: limit check with all 64 bits
        ; NT means a task return, which long mode does not have.
        SET_FLAGS FL_NT
        TRY     L64_0
        iretq
        END
        EXPECT  GP, 0
        ; From ring 3: no way in, IF and IOPL stay, the 64-bit frame always includes SS:RSP.
        TRY     L64_3
        FRAME   CODE64, DATA64, FL_FIX, landing
        END
        EXPECT  GP, CODE64
        SET_FLAGS FL_IF
        TRY     L64_3
        FRAME   UCODE32, UDATA32, FL_FIX | FL_IOPL3 | FL_CF, landing
        END
        EXPECT  UD, NOERR, landing
        EXPECT_FLAG FL_IF | FL_IOPL3 | FL_CF, FL_IF | FL_CF
        CHECK_EQ32 [out_rsp], SNIP_STACK - 0x100
        ; IRETD and IRETW of 64-bit code also pop SS:SP.
        TRY     L64_0
        mov     ebx, SNIP_STACK - 0x40
        mov     dword [rbx], landing
        mov     dword [rbx + 4], UCODE64
        mov     dword [rbx + 8], FL_FIX
        mov     dword [rbx + 12], SNIP_STACK - 0x20
        mov     dword [rbx + 16], UDATA64
        mov     rsp, rbx
        iretd
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_rsp], SNIP_STACK - 0x20
        CHECK_EQ32 [out_cs], UCODE64
        ; Compatibility mode: a return to the same ring pops three items.
        TRY     C32_3
        push    dword FL_FIX | FL_CF
        push    dword UCODE32
        push    dword landing
        iretd
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_rsp], SNIP_STACK
        TRY     C32_3                                   ; and may enter 64-bit code
        push    dword FL_FIX
        push    dword UCODE64
        push    dword landing
        iretd
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], UCODE64
        ; Data segments above the new ring are nulled on the way out.
        TRY     L64_0
        mov     eax, DATA64
        mov     es, eax
        mov     eax, CONFORMING
        mov     fs, eax
        FRAME   UCODE64, UDATA64, FL_FIX, landing
        END
        CHECK_EQ32 [out_es], 0
        CHECK_EQ32 [out_fs], CONFORMING                 ; conforming code stays
        jmp     done64
landing: ud2
done64: TEST_END
