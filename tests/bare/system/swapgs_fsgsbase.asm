; covers: SWAPGS, RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE, segmentation.fsgs_base
; expects: SWAPGS exchanges GS base with its MSR in ring 0; the base instructions need CR4.FSGSBASE and 64-bit mode.
%include "prelude.inc"

        GO_LONG
        WRMSR_  MSR_GS_BASE, 0x11111000, 0x7
        WRMSR_  MSR_KERNEL_GS_BASE, 0x22222000, 0x7
        swapgs
        RDMSR_  MSR_GS_BASE
        CHECK_EQ32 eax, 0x22222000
        RDMSR_  MSR_KERNEL_GS_BASE
        CHECK_EQ32 eax, 0x11111000
        CHECK_EQ32 edx, 7
        TRY     L64_3
        swapgs
        END
        EXPECT  GP, 0
        TRY     C32_0
        db      0x0f, 0x01, 0xf8                ; swapgs
        END
        EXPECT  UD, NOERR
        ; Bases are 64 bits wide for FS and GS; loading a selector loads the 32-bit base of its descriptor.
        WRMSR_  MSR_FS_BASE, SCRATCH
        mov     dword [SCRATCH + 8], 0x600dda7a
        TRY     L64_3
        mov     eax, [fs:8]
        END
        EXPECT_OK
        CHECK_EQ [out_rax], 0x600dda7a
        SET_DESC GDT + FREE_SEL, SCRATCH + 4, 0xf, A_UDATA, F_B
        TRY     L64_3
        mov     ecx, FREE_SEL | 3
        mov     fs, ecx
        mov     eax, [fs:4]
        mov     edx, [fs:0x100]                 ; no limit check in 64-bit mode
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x600dda7a
        RDMSR_  MSR_FS_BASE
        CHECK_EQ32 eax, SCRATCH + 4
        ; Bases of DS, ES and SS count as 0.
        TRY     L64_3
        mov     ecx, FREE_SEL | 3
        mov     ds, ecx
        mov     es, ecx
        mov     eax, [SCRATCH + 8]
        mov     edx, [es:SCRATCH + 8]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x600dda7a
        CHECK_EQ32 [out_rdx], 0x600dda7a  ; qemu-deviates: adds the base of DS to a direct address
        ; A non-canonical base faults at its use, and cannot be written.
        mov     qword [in_rcx], MSR_FS_BASE
        mov     qword [in_rdx], 0x8000
        TRY     L64_0
        wrmsr
        END
        EXPECT  GP, 0                           ; qemu-deviates: no canonical check
        mov     qword [in_rcx], MSR_KERNEL_GS_BASE
        TRY     L64_0
        wrmsr
        END
        EXPECT  GP, 0                           ; qemu-deviates: no canonical check
        WRMSR_  MSR_FS_BASE, 0
        WRMSR_  MSR_GS_BASE, 0
        NEED_OR F_FSGSBASE, 'fsgsbase', done64
        TRY     L64_3
        rdfsbase rax
        END
        EXPECT  UD, NOERR
        CR      cr4, CR4_FSGSBASE, 0
        mov     rax, 0x0000123456789abc
        mov     [in_rax], rax
        TRY     L64_3
        wrfsbase rax
        rdfsbase rbx
        rdfsbase ecx
        wrgsbase eax
        rdgsbase rdx
        END
        EXPECT_OK
        CHECK_EQ [out_rbx], [in_rax]
        CHECK_EQ [out_rcx], 0x56789abc
        CHECK_EQ [out_rdx], 0x56789abc
        mov     rax, 0x0000800000000000
        mov     [in_rax], rax
        TRY     L64_3
        wrfsbase rax
        END
        EXPECT  GP, 0                           ; qemu-deviates: no canonical check
        TRY     C32_3
        db      0xf3, 0x0f, 0xae, 0xc0          ; rdfsbase eax
        END
        EXPECT  UD, NOERR
        TRY     L64_3
        db      0x0f, 0xae, 0xc0                ; without F3: FXSAVE with a register operand
        END
        EXPECT  UD, NOERR
        CR      cr4, 0, CR4_FSGSBASE
done64: TEST_END
