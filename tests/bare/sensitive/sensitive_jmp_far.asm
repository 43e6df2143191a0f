; covers: JMP.far, sensitive.JMPF
; expects: A far JMP checks type, privilege, presence and limit of the target in that order; the privilege level stays.
%include "prelude.inc"
%include "far.inc"

%macro TRANSFER 0
    %if IS_16(MODE)
        jmp     far [far_pointer]
    %else
        jmp     dword far [far_pointer]
    %endif
%endmacro                       ; qemu-deviates: limit check late or with a selector; CS with L and D is taken
%macro CASES 1
    %define MODE %1
        COMMON_CASES
%endmacro
        FILL_TARGETS
        OVER_PROTECTED CASES
        GO_LEGACY
        FAR_DATA
%macro REAL_MODE 1
        TRY     %1
        jmp     (IMAGE >> 4) - 16:%%there - image_start + 256
        nop
%%there:
        mov     ax, cs
        END
        EXPECT_REAL_OK
        CHECK_BITS32 [out_rax], 0xffff, (IMAGE >> 4) - 16
%endmacro
; The segment arithmetic of real and V86 mode moves IP by 256.
%macro EXPECT_REAL_OK 0
  %if LAST_MODE == REAL
        CHECK_EQ32 [out_vec], BP_
        CHECK_EQ32 [out_rip], LAST_END - image_start + 257
  %else
        CHECK_EQ32 [out_vec], UD
        CHECK_EQ32 [out_rip], LAST_END - image_start + 256
  %endif
        CHECK_EQ32 [out_cs], (IMAGE >> 4) - 16
%endmacro
        OVER    REAL_MODE, REAL, V86_0, V86_3
        ; Direct pointers do not exist in 64-bit mode.
        TRY     L64_0
        db      0xea
        dd      0
        dw      CODE32
        END
        EXPECT  UD, NOERR
        ; m16:64 operand.
        mov     rax, sixty_four
        mov     [SCRATCH], rax
        mov     word [SCRATCH + 8], CODE64
        TRY     L64_0
        mov     ebx, SCRATCH
        o64 jmp far [rbx]
sixty_four:
        END
        EXPECT_OK
        ; A 64-bit target ignores base and limit but must be canonical.
        mov     rax, 0x0001000000000000
        mov     [SCRATCH], rax
        TRY     L64_0
        mov     ebx, SCRATCH
        AT
        o64 jmp far [rbx]
        END
        EXPECT  GP, 0           ; qemu-deviates: no canonical check of the target
        TEST_END
