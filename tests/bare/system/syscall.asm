; covers: SYSCALL, SYSRET, syscall.long, syscall.star
; expects: SYSCALL needs EFER.SCE and 64-bit mode (or compatibility mode via CSTAR on AMD); SYSRET needs ring 0 and a canonical RCX.
%include "prelude.inc"

        GO_LONG
        WRMSR_  MSR_STAR, 0x12345678, (UCODE32 & ~3) << 16 | CODE64
        WRMSR_  MSR_LSTAR, entry
        WRMSR_  MSR_FMASK, FL_IF | FL_DF | FL_CF | FL_AC
        ; From ring 3.
        SET_FLAGS FL_IOPL3 | FL_DF | FL_CF | FL_ZF | FL_AC
        TRY     L64_3
        syscall
        END
        EXPECT  UD, NOERR, entry
        CHECK_EQ [out_rcx], LAST_END
        CHECK_BITS32 [out_r11], 0xffff, FL_IOPL3 | FL_DF | FL_CF | FL_ZF | FL_FIX
        EXPECT_FLAG 0x4ffff - 0x10, FL_IOPL3 | FL_ZF | FL_FIX  ; qemu-deviates: loses the arithmetic flags
        CHECK_EQ32 [out_cs], CODE64
        CHECK_EQ32 [out_ss], CODE64 + 8
        CHECK_EQ32 [out_rsp], SNIP_STACK        ; RSP is not switched
        ; From ring 0 it works as well.
        TRY     L64_0
        syscall
        END
        EXPECT  UD, NOERR, entry
        ; RF is cleared in R11.
        SET_FLAGS FL_RF
        TRY     L64_3
        syscall
        END
        CHECK_BITS32 [out_r11], FL_RF, 0
        ; The descriptor table is not read: a useless selector is as good.
        WRMSR_  MSR_STAR, 0, (UCODE32 & ~3) << 16 | 0xff03
        TRY     L64_3
        syscall
        END
        EXPECT  UD, NOERR, entry
        CHECK_EQ32 [out_cs], 0xff00             ; RPL forced to 0
        WRMSR_  MSR_STAR, 0, (UCODE32 & ~3) << 16 | CODE64
        ; Without SCE: #UD.
        RDMSR_  MSR_EFER
        and     eax, ~EFER_SCE
        wrmsr
        TRY     L64_3
        syscall
        END
        EXPECT  UD, NOERR
        TRY     L64_0
        o64 sysret
        END
        EXPECT  UD, NOERR
        RDMSR_  MSR_EFER
        or      eax, EFER_SCE
        wrmsr
        ; SYSRET to 64-bit code: CS = base + 16, SS = base + 8, both RPL 3; R11 gives the flags.
        mov     qword [in_rcx], landing
        TRY     L64_0
        mov     r11, FL_IF | FL_IOPL3 | FL_CF | FL_VM | FL_RF | FL_NT | FL_ID
        o64 sysret
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], UCODE64
        CHECK_EQ32 [out_ss], UDATA32
        EXPECT_FLAG 0x2fffff - 0x10000, FL_IF | FL_IOPL3 | FL_CF | FL_NT | FL_ID | FL_FIX  ; qemu-deviates: takes VM from R11
        ; SYSRET with 32-bit operand size: to compatibility mode, CS = base.
        TRY     L64_0
        xor     r11d, r11d
        o32 sysret
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], UCODE32
        CHECK_EQ32 [out_ss], UDATA32
        ; The selectors get RPL 3 whatever STAR says; no descriptor is read.
        WRMSR_  MSR_STAR, 0, 0xff00 << 16 | CODE64
        TRY     L64_0
        mov     r11d, 2
        o64 sysret
        END
        CHECK_EQ32 [out_cs], 0xff13
        CHECK_EQ32 [out_ss], 0xff0b
        WRMSR_  MSR_STAR, 0, (UCODE32 & ~3) << 16 | CODE64
        ; Non-canonical RCX: #GP(0) in ring 0, before anything changes.
        mov     rax, 0x0000800000000000
        mov     [in_rcx], rax
        TRY     L64_0
        o64 sysret
        END
        EXPECT  GP, 0                           ; qemu-deviates: faults in ring 3
        CHECK_EQ32 [out_cs], CODE64             ; qemu-deviates: faults in ring 3
        ; Ring 3, compatibility mode and legacy mode have no SYSRET.
        TRY     L64_3
        o64 sysret
        END
        EXPECT  GP, 0
        ; LSTAR must be canonical to be written.
        mov     qword [in_rcx], MSR_LSTAR
        mov     qword [in_rax], 0
        mov     qword [in_rdx], 0x8000
        TRY     L64_0
        wrmsr
        END
        EXPECT  GP, 0                           ; qemu-deviates: no canonical check
        WRMSR_  MSR_LSTAR, entry
        ; Interrupt gates see a SYSCALL stack segment as flat ring 0 data: the push works at any address.
        TRY     L64_3
        syscall
        END
        CHECK_EQ32 [out_vec], UD
        ; Intel: SYSCALL outside 64-bit mode is #UD; AMD: CSTAR. This machine presents an Intel processor or says so.
        xor     eax, eax
        cpuid
        cmp     ebx, 0x756e6547
        jne     done64
        TRY     C32_3
        syscall
        END
        EXPECT  UD, NOERR
        TRY     C32_0
        sysret
        END
        EXPECT  UD, NOERR
        TRY     PM32_3
        syscall
        END
        EXPECT  UD, NOERR
        GO_LONG
        jmp     done64
entry:  ud2
landing: ud2
done64: TEST_END
