; covers: SYSENTER, SYSEXIT, syscall.sysenter
; expects: SYSENTER needs a non-null SYSENTER_CS and protected mode; it clears IF and VM; SYSEXIT is for ring 0.
%include "prelude.inc"

        WRMSR_  MSR_SYSENTER_CS, CODE64         ; selectors 0x18.. are laid out for it
        WRMSR_  MSR_SYSENTER_ESP, RING0_STACK - 0x100
        WRMSR_  MSR_SYSENTER_EIP, entry
        SET_FLAGS FL_IF | FL_IOPL3 | FL_CF | FL_DF
        TRY     PM32_3
        sysenter
        END
        EXPECT  UD, NOERR, entry
        CHECK_EQ32 [out_cs], CODE64
        CHECK_EQ32 [out_ss], CODE64 + 8
        CHECK_EQ32 [out_rsp], RING0_STACK - 0x100
        EXPECT_FLAG FL_IF | FL_IOPL3 | FL_CF | FL_DF | FL_VM, FL_IOPL3 | FL_CF | FL_DF
        TRY     PM32_0
        sysenter
        END
        EXPECT  UD, NOERR, entry
        TRY     V86_0
        sysenter
        END
        CHECK_EQ32 [out_rip], entry
        EXPECT_FLAG FL_VM, 0
        TRY     PM16_3
        sysenter
        END
        CHECK_EQ32 [out_rip], entry             ; the new code segment is 32-bit and flat
        TRY     REAL
        sysenter
        END
        EXPECT  GP, 0
        TRY     REAL
        sysexit
        END
        EXPECT  GP, 0
        ; Exit: CS = base + 16, SS = base + 24, EIP from EDX, ESP from ECX; flags stay.
        mov     dword [in_rdx], landing
        mov     dword [in_rcx], SNIP_STACK - 0x40
        SET_FLAGS FL_CF | FL_IOPL3
        TRY     PM32_0
        sysexit
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], UCODE32
        CHECK_EQ32 [out_ss], UDATA32
        CHECK_EQ32 [out_rsp], SNIP_STACK - 0x40
        EXPECT_FLAG FL_CF | FL_IOPL3, FL_CF | FL_IOPL3
        TRY     PM32_3
        sysexit
        END
        EXPECT  GP, 0
        TRY     V86_3
        sysexit
        END
        EXPECT  GP, 0
        WRMSR_  MSR_SYSENTER_CS, 3              ; null by its upper bits
        TRY     PM32_3
        sysenter
        END
        EXPECT  GP, 0                           ; qemu-deviates: only 0 counts as null
        TRY     PM32_0
        sysexit
        END
        EXPECT  GP, 0                           ; qemu-deviates: only 0 counts as null
        WRMSR_  MSR_SYSENTER_CS, 0
        TRY     PM32_3
        sysenter
        END
        EXPECT  GP, 0
        TRY     PM32_0
        sysexit
        END
        EXPECT  GP, 0
        WRMSR_  MSR_SYSENTER_CS, CODE64 | 3     ; RPL bits are dropped
        TRY     PM32_3
        sysenter
        END
        EXPECT  UD, NOERR, entry
        CHECK_EQ32 [out_cs], CODE64

        ; Long mode (Intel processors; AMD has no SYSENTER there).
        GO_LONG
        xor     eax, eax
        cpuid
        cmp     ebx, 0x756e6547
        jne     done64
        mov     qword [in_rdx], landing
        mov     qword [in_rcx], SNIP_STACK - 0x40
        TRY     L64_3
        sysenter
        END
        EXPECT  UD, NOERR, entry
        CHECK_EQ32 [out_cs], CODE64
        CHECK_EQ [out_rsp], RING0_STACK - 0x100
        TRY     C32_3                           ; from compatibility mode into 64-bit mode
        sysenter
        END
        EXPECT  UD, NOERR, entry
        CHECK_EQ32 [out_cs], CODE64
        TRY     L64_0
        o64 sysexit
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], CODE64 + 32 | 3
        CHECK_EQ32 [out_ss], CODE64 + 40 | 3
        TRY     L64_0
        o32 sysexit
        END
        EXPECT  UD, NOERR, landing
        CHECK_EQ32 [out_cs], UCODE32
        mov     rax, 0x0000800000000000
        mov     [in_rdx], rax
        TRY     L64_0
        o64 sysexit
        END
        EXPECT  GP, 0
        mov     qword [in_rdx], landing
        mov     [in_rcx], rax
        TRY     L64_0
        o64 sysexit
        END
        EXPECT  GP, 0
        jmp     done64
entry:  ud2
landing: ud2
done64: TEST_END
