; covers: RDMSR, WRMSR, msr.unknown, msr.efer, msr.canonical
; expects: unknown registers are #GP(0), reserved bits and forbidden transitions too; both instructions need ring 0.
%include "prelude.inc"

        GO_LONG
%macro READ 3                   ; msr, vector, error code
        mov     eax, %1
        mov     [in_rcx], rax
        TRY     L64_0
        rdmsr
        END
        EXPECT  %2, %3
%endmacro
%macro WRITE 5                  ; msr, edx, eax, vector, error code
        mov     eax, %1
        mov     [in_rcx], rax
        mov     eax, %2
        mov     [in_rdx], rax
        mov     eax, %3
        mov     [in_rax], rax
        TRY     L64_0
        wrmsr
        END
    %if %4 == UD
        EXPECT_OK
    %else
        EXPECT  %4, %5
    %endif
%endmacro
        READ    0xdeadbeef, GP, 0               ; qemu-deviates: unknown registers read as 0
        READ    0x40000fff, GP, 0               ; qemu-deviates: unknown registers read as 0
        READ    0xc0000fff, GP, 0               ; qemu-deviates: unknown registers read as 0
        WRITE   0xdeadbeef, 0, 0, GP, 0         ; qemu-deviates: writes are ignored
        ; RDMSR clears the high halves.
        mov     dword [in_rcx], MSR_EFER
        TRY     L64_0
        mov     rax, -1
        mov     rdx, -1
        rdmsr
        END
        EXPECT_OK
        CHECK_EQ [out_rax], EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE
        CHECK_EQ [out_rdx], 0
        ; EFER: LMA is read-only, LME cannot change under paging, reserved bits are #GP(0).
        WRITE   MSR_EFER, 0, EFER_LMA | EFER_SCE | EFER_NXE, GP, 0              ; qemu-deviates: no check
        RDMSR_  MSR_EFER
        CHECK_EQ32 eax, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE               ; qemu-deviates: no check
        WRITE   MSR_EFER, 0, EFER_LME | EFER_SCE | EFER_NXE, UD, 0
        RDMSR_  MSR_EFER
        CHECK_EQ32 eax, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE
        WRITE   MSR_EFER, 0, 0xd03, GP, 0                                       ; qemu-deviates: no check
        WRITE   MSR_EFER, 1, 0xd01, GP, 0                                       ; qemu-deviates: no check
        ; Address registers hold canonical values only.
%macro ADDRESS_MSR 1
        WRITE   %1, 0x7fff, 0xfffffff0, UD, 0
        RDMSR_  %1
        CHECK_EQ32 eax, 0xfffffff0
        CHECK_EQ32 edx, 0x7fff
        WRITE   %1, 0x12348000, 0, GP, 0                                        ; qemu-deviates: no canonical check
        WRITE   %1, 0, 0, UD, 0
%endmacro
        ADDRESS_MSR MSR_FS_BASE
        ADDRESS_MSR MSR_GS_BASE
        ADDRESS_MSR MSR_KERNEL_GS_BASE
        ADDRESS_MSR MSR_LSTAR
        ADDRESS_MSR MSR_CSTAR
        ADDRESS_MSR MSR_SYSENTER_ESP
        ADDRESS_MSR MSR_SYSENTER_EIP
        WRITE   MSR_FMASK, 0, 0x47700, UD, 0
        ; PAT: types 2, 3 and above 7 are reserved.
        WRITE   0x277, 0x00070406, 0x00070406, UD, 0
        WRITE   0x277, 0x00070406, 0x00070402, GP, 0    ; qemu-deviates: no check
        WRITE   0x277, 0x08070406, 0x00070406, GP, 0    ; qemu-deviates: no check
        ; MTRRs: types 2, 3 and above 6 and reserved bits.
        WRITE   0x200, 0, 0x80000006, UD, 0
        WRITE   0x200, 0, 0x80000002, GP, 0     ; qemu-deviates: no check
        WRITE   0x200, 0, 0x80000106, GP, 0     ; qemu-deviates: no check
        WRITE   0x201, 0, 0x80000001, GP, 0     ; qemu-deviates: no check
        WRITE   0x201, 0xfff00000, 0x80000800, GP, 0    ; qemu-deviates: no check
        WRITE   0x250, 0x06060606, 0x06060606, UD, 0
        WRITE   0x250, 0x06070606, 0x06060606, GP, 0    ; qemu-deviates: no check
        WRITE   0x2ff, 0, 0x203, GP, 0          ; qemu-deviates: no check
        ; MTRR capability is read-only.
        WRITE   0xfe, 0, 0, GP, 0               ; qemu-deviates: ignored
        ; APIC base: reserved bits, and the bootstrap flag.
        RDMSR_  MSR_APIC_BASE
        CHECK_BITS32 eax, 0xfffff900, 0xfee00900
        WRITE   MSR_APIC_BASE, 0xffff0000, 0xfee00900, GP, 0    ; qemu-deviates: no check
        WRITE   MSR_APIC_BASE, 0, 0xfee009ff, GP, 0             ; qemu-deviates: no check
        TRY     L64_3
        rdmsr
        END
        EXPECT  GP, 0
        TRY     L64_3
        wrmsr
        END
        EXPECT  GP, 0
        GO_LEGACY
        TRY     V86_3
        rdmsr
        END
        EXPECT  GP, 0
        TRY     REAL
        mov     ecx, MSR_EFER
        rdmsr
        END
        EXPECT_OK
        TEST_END
