; covers: JCXZ, JECXZ, LOOP, LOOPE, LOOPNE, JMP.near, CALL.near, RET.near, JCC.near
; qemu-deviates: no limits of code segments
; expects: JCXZ and LOOP count by address size; a near branch beyond the limit is #GP(0) and changes nothing.
%include "prelude.inc"

%macro COUNT 4                  ; mode, RCX, instruction, taken
        mov     dword [in_rcx], %2
        mov     dword [in_rbx], 0
        TRY     %1
        %3      %%x
        mov     bl, 1
%%x:    nop
        END
        EXPECT_OK
        CHECK_BITS32 [out_rbx], 0xff, 1 - %4
%endmacro
%macro CASES 1
        COUNT   %1, 0x10000, jecxz, 0
        COUNT   %1, 0, jecxz, 1
    %if !IS_64(%1)
        COUNT   %1, 0x10000, jcxz, 1
        COUNT   %1, 0x10001, jcxz, 0
        COUNT   %1, 0x10001, a16 loop, 0
        CHECK_EQ32 [out_rcx], 0x10000
        COUNT   %1, 0x10002, a16 loop, 1
        CHECK_EQ32 [out_rcx], 0x10001
    %endif
        COUNT   %1, 0x10001, a32 loop, 1
        CHECK_EQ32 [out_rcx], 0x10000
        SET_FLAGS FL_ZF
        COUNT   %1, 2, a32 loope, 1
        COUNT   %1, 2, a32 loope, 0
        COUNT   %1, 2, a32 loopne, 1
        SET_FLAGS FL_ZF
        COUNT   %1, 2, a32 loopne, 0
        COUNT   %1, 1, a32 loopne, 0
        CHECK_EQ32 [out_rcx], 0
%endmacro
        OVER_ALL CASES
        ; Beyond the limit of 64 KiB: at the branch, with the stack and the counter as they were.
        GO_LEGACY
        mov     dword [in_rcx], 2
%macro BEYOND 2-*
        TRY     %1
        db      %{2:-1}
        END
        EXPECT  GP, 0
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16
%endmacro
%macro LIMITS 1
        BEYOND  %1, 0x66, 0xe9, 0, 0, 2, 0              ; jmp
        BEYOND  %1, 0x66, 0xe8, 0, 0, 2, 0              ; call
        BEYOND  %1, 0x66, 0x0f, 0x81, 0, 0, 2, 0        ; jno
        BEYOND  %1, 0x66, 0xff, 0xe0                    ; jmp eax
        BEYOND  %1, 0x66, 0xff, 0xd0                    ; call eax
        TRY     %1
        push    dword 0x10000
        AT
        o32 ret
        END
        EXPECT  GP, 0
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 4
%endmacro
        LIMITS  V86_0
        LIMITS  V86_3
        LIMITS  PM16_0
        LIMITS  PM16_3
        TEST_END
