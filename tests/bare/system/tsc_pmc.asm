; covers: RDTSC, RDTSCP, RDPID, RDPMC, msr.tsc
; expects: CR4.TSD closes the time stamp to ring 3 and not to ring 0, CR4.PCE opens RDPMC; the counter only grows.
%include "prelude.inc"

        GO_LONG
        TRY     L64_3
        rdtsc
        mov     esi, eax
        mov     edi, edx
        rdtsc
        sub     eax, esi
        sbb     edx, edi
        END
        EXPECT_OK
        CHECK_BITS32 [out_rdx], 0x80000000, 0
        CR      cr4, CR4_TSD, 0
        TRY     L64_3
        rdtsc
        END
        EXPECT  GP, 0
        TRY     L64_0
        mov     rdx, -1
        rdtsc
        END
        EXPECT_OK
        CHECK_EQ32 [out_rdx + 4], 0
        TRY     C32_3
        rdtsc
        END
        EXPECT  GP, 0
        CR      cr4, 0, CR4_TSD
        TRY     L64_3
        mov     ecx, 0
        AT
        rdpmc
        END
        EXPECT  GP, 0
        TRY     L64_0
        mov     ecx, 0x12345
        AT
        rdpmc
        END
        EXPECT  GP, 0                           ; qemu-deviates: RDPMC is #UD
        ; The counter can be written, and reads grow from there.
        WRMSR_  0x10, 0x1000, 0x5
        rdtsc
        CHECK_EQ32 edx, 5                       ; qemu-deviates: writes to the counter are ignored
        NEED_OR F_RDTSCP, 'rdtscp', no_rdtscp
        WRMSR_  MSR_TSC_AUX, 0x4321
        TRY     L64_3
        rdtscp
        END
        EXPECT_OK
        CHECK_EQ [out_rcx], 0x4321
        CR      cr4, CR4_TSD, 0
        TRY     L64_3
        rdtscp
        END
        EXPECT  GP, 0
        TRY     L64_0
        rdtscp
        END
        EXPECT_OK
        NEED_OR F_RDPID, 'rdpid', no_rdpid
        TRY     L64_3                           ; not governed by TSD
        rdpid   rax
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 0x4321
no_rdpid:
        CR      cr4, 0, CR4_TSD
        ; TSC_AUX has 32 bits.
        mov     qword [in_rcx], MSR_TSC_AUX
        mov     qword [in_rdx], 1
        TRY     L64_0
        wrmsr
        END
        EXPECT  GP, 0                           ; qemu-deviates: no check; bochs-deviates: no check
no_rdtscp:
        GO_LEGACY
        mov     eax, CR4_TSD
        mov     cr4, eax
        TRY     V86_3
        rdtsc
        END
        EXPECT  GP, 0
        TRY     REAL                            ; ring 0
        rdtsc
        END
        EXPECT_OK
        TRY     PM16_3
        rdtsc
        END
        EXPECT  GP, 0
        TEST_END
