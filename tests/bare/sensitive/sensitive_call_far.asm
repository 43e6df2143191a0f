; covers: CALL.far, sensitive.CALLF
; expects: A far CALL makes the checks of a far JMP and pushes CS and the return address in operand size.
%include "prelude.inc"
%include "far.inc"

%macro TRANSFER 0
    %if IS_16(MODE)
        call    far [far_pointer]
    %else
        call    dword far [far_pointer]
    %endif
%endmacro                       ; qemu-deviates: limit check late or with a selector; CS with L and D is taken
%macro CASES 1
    %define MODE %1
        COMMON_CASES
        POINTER T_CONF0, target - image_start
        TRY     MODE
        TRANSFER
        END
        CHECK_EQ32 [out_rip], target - image_start
  %if IS_16(MODE)
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 4
        CHECK_BITS32 [SNIP_STACK - 4], 0xffff, LAST_END - image_start
        %if MODE == PM16_0 || MODE == C16_0
        CHECK_BITS32 [SNIP_STACK - 2], 0xffff, CODE16
        %else
        CHECK_BITS32 [SNIP_STACK - 2], 0xffff, UCODE16
        %endif
  %else
        CHECK_EQ32 [out_rsp], SNIP_STACK - 8
        CHECK_EQ32 [SNIP_STACK - 8], LAST_END
    %if IS_64(MODE)
      %define C CODE64
      %define U UCODE64
    %else
      %define C CODE32
      %define U UCODE32
    %endif
    %if IS_RING3(MODE)
        CHECK_BITS32 [SNIP_STACK - 4], 0xffff, U
    %else
        CHECK_BITS32 [SNIP_STACK - 4], 0xffff, C
    %endif
  %endif
%endmacro
        FILL_TARGETS
        OVER_PROTECTED CASES
        GO_LEGACY
        FAR_DATA
%macro REAL_MODE 1
        TRY     %1
        call    (IMAGE >> 4) - 16:%%there - image_start + 256
%%back: nop
%%there:
        pop     bx
        pop     cx
        mov     ax, cs
        END
        CHECK_EQ32 [out_cs], (IMAGE >> 4) - 16
        CHECK_BITS32 [out_rbx], 0xffff, %%back - image_start
        CHECK_BITS32 [out_rcx], 0xffff, IMAGE >> 4
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16
%endmacro
        OVER    REAL_MODE, REAL, V86_0, V86_3
        TRY     L64_0
        db      0x9a
        dd      0
        dw      CODE32
        END
        EXPECT  UD, NOERR
        mov     rax, sixty_four
        mov     [SCRATCH], rax
        mov     word [SCRATCH + 8], CODE64
        TRY     L64_0
        mov     ebx, SCRATCH
        o64 call far [rbx]
sixty_four:
        pop     rax
        pop     rcx
        END
        EXPECT_OK
        CHECK_EQ [out_rax], sixty_four
        CHECK_EQ [out_rcx], CODE64
        TEST_END
