; covers: apic.x2apic, apic.tsc_deadline, apic.mode_transitions
; expects: x2APIC registers are MSRs with #GP for reserved use; SELF IPI works; the deadline timer fires once.
%include "prelude.inc"
%include "apic.inc"

        GO_LONG
        NEED    F_X2APIC, 'x2apic'
        APIC_ON
        COUNTER 0x50
        COUNTER 0x71
        mov     dword [in_rcx], X2 + 2
        TRY     L64_0                           ; not before the mode is on
        rdmsr
        END
        EXPECT  GP, 0
        RDMSR_  MSR_APIC_BASE
        or      eax, 0x400
        wrmsr
        mov     dword [eoi_mode], 1
        RDMSR_  X2 + (A_SVR >> 4)
        CHECK_EQ32 eax, 0x1ff
        RDMSR_  X2 + 0xd
        CHECK_EQ32 eax, 1                       ; logical id of processor 0; bochs-deviates: not modelled
        WRMSR_  X2 + 0x3f, 0x50                 ; SELF IPI
        WINDOW
        CHECK_EQ32 [COUNT(0x50)], 1
        WRMSR_  X2 + (A_ICR >> 4), 0x40050
        WINDOW
        CHECK_EQ32 [COUNT(0x50)], 2
        RDMSR_  X2 + 2
        mov     ecx, X2 + (A_ICR >> 4)
        mov     edx, eax                        ; physical destination in the high half
        mov     eax, 0x50
        wrmsr
        WINDOW
        CHECK_EQ32 [COUNT(0x50)], 3
%macro BAD_WRITE 3              ; msr, high, low
        mov     dword [in_rcx], %1
        mov     dword [in_rdx], %2
        mov     dword [in_rax], %3
        TRY     L64_0
        wrmsr
        END
        EXPECT  GP, 0
%endmacro
        BAD_WRITE X2 + (A_EOI >> 4), 0, 1
        BAD_WRITE X2 + (A_SVR >> 4), 1, 0x1ff
        BAD_WRITE X2 + (A_TPR >> 4), 0, 0x100
        BAD_WRITE X2 + 2, 0, 0
        BAD_WRITE X2 + 3, 0, 0
        BAD_WRITE X2 + 0xd, 0, 0
        BAD_WRITE X2 + 0x31, 0, 0
        BAD_WRITE X2 + (A_LVT_TIMER >> 4), 0, 0x80000000  ; bochs-deviates: not modelled
        BAD_WRITE X2 + (A_ESR >> 4), 0, 1
        mov     dword [in_rcx], X2 + 0x3f
        TRY     L64_0                           ; write-only
        rdmsr
        END
        EXPECT  GP, 0
        mov     dword [in_rcx], X2 + 0x31
        TRY     L64_0
        rdmsr
        END
        EXPECT  GP, 0
        ; From x2APIC back to xAPIC only by way of off.
        RDMSR_  MSR_APIC_BASE
        and     eax, ~0x400
        BAD_WRITE MSR_APIC_BASE, 0, 0xfee00900
        NEED_OR F_DEADLINE, 'tsc deadline', no_deadline
        WRMSR_  X2 + (A_LVT_TIMER >> 4), 0x40071
        mfence
        rdtsc
        add     eax, 1000000
        adc     edx, 0
        mov     ecx, MSR_TSC_DEADLINE
        wrmsr
        WAIT_FOR 0x71, 1
        RDMSR_  MSR_TSC_DEADLINE
        CHECK_EQ32 eax, 0                       ; disarmed by firing; bochs-deviates: not modelled
        WRMSR_  MSR_TSC_DEADLINE, 1             ; in the past: at once
        WAIT_FOR 0x71, 2
        WINDOW
        CHECK_EQ32 [COUNT(0x71)], 2
        ; Writing the initial count does nothing in this mode.
        WRMSR_  X2 + (A_INITIAL >> 4), 1000
        WINDOW
        CHECK_EQ32 [COUNT(0x71)], 2
        ; 0 disarms.
        rdtsc
        add     eax, 2000000
        adc     edx, 0
        mov     ecx, MSR_TSC_DEADLINE
        wrmsr
        WRMSR_  MSR_TSC_DEADLINE, 0
        RDMSR_  MSR_TSC_DEADLINE
        CHECK_EQ32 eax, 0
no_deadline:
        RDMSR_  MSR_APIC_BASE
        and     eax, ~0xc00
        wrmsr
        CPUID_BIT 1, edx, 9
        setnz   al
        movzx   eax, al
        CHECK_EQ32 eax, 0                       ; CPUID hides an APIC that is off
        TEST_END
