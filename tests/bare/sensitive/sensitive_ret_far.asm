; covers: RET.far, sensitive.RETF
; expects: A far RET returns to the same or an outer ring only, checks CS and SS, and drops segments the new ring may not use.
%include "prelude.inc"
%include "far.inc"

; RET in MODE with four stack items prepared: offset, selector, stack pointer, stack selector.
%macro RETURN 2
        TRY     MODE
  %if IS_16(MODE)
        push    word %2
        push    word SNIP_SP16
        push    word %1
        push    word target - image_start
        AT
        o16 retf
  %elif IS_64(MODE)
        push    %2
        push    SNIP_STACK
        push    %1
        push    target - image_start
        AT
        o64 retf
  %else
        push    dword %2
        push    dword SNIP_STACK
        push    dword %1
        push    dword target - image_start
        AT
        retf
  %endif
        END
%endmacro
%macro REFUSED 4                ; CS, SS, vector, error code
        RETURN  %1, %2
        EXPECT  %3, %4
%endmacro
%macro RETURNS 3                ; CS, SS, SS afterwards (0: unchanged stack)
        RETURN  %1, %2
        CHECK_EQ32 [out_vec], UD
        CHECK_EQ32 [out_rip], target - image_start
        CHECK_EQ32 [out_cs], %1
    %if %3
        CHECK_EQ32 [out_ss], %3
    %endif
%endmacro
%macro CASES 1
    %define MODE %1
    %assign r0 (IS_RING3(%1) == 0)
        REFUSED 0, UDATA32, GP, 0
        REFUSED 3, UDATA32, GP, 0
        REFUSED T_DATA3 | 3, UDATA32, GP, T_DATA3
        REFUSED T_INT3 | 3, UDATA32, GP, T_INT3
        REFUSED 0x1003, UDATA32, GP, 0x1000
    %if r0
        RETURNS T_CODE0, UDATA32, 0
        RETURNS T_CONF0, UDATA32, 0
        REFUSED T_CODE0 | 3, UDATA32, GP, T_CODE0
        REFUSED T_CODE3, UDATA32, GP, T_CODE3
        REFUSED T_NP0, UDATA32, NP, T_NP0
        REFUSED T_SHORT0, UDATA32, GP, 0   ; qemu-deviates: no limit check
        ; Outer returns.
        RETURNS T_CODE3 | 3, UDATA32, UDATA32
        RETURNS T_CONF3 | 3, UDATA32, UDATA32
        RETURNS T_CONF0 | 3, UDATA32, UDATA32
        REFUSED T_CODE3 | 3, 0, GP, 0
        REFUSED T_CODE3 | 3, 3, GP, 0                   ; null SS: the target is not 64-bit code
        REFUSED T_CODE3 | 3, DATA32, GP, DATA32
        REFUSED T_CODE3 | 3, UDATA32 & ~3, GP, UDATA32 & ~3
        REFUSED T_CODE3 | 3, DATA32 | 3, GP, DATA32
        REFUSED T_CODE3 | 3, T_CODE3 | 3, GP, T_CODE3
        REFUSED T_NP3 | 3, UDATA32, NP, T_NP3
        RETURN  T_CODE3 | 3, UDATA32                    ; data segments of ring 0 become null
        CHECK_BITS32 [out_ds], 0xffff, 0
        CHECK_BITS32 [out_es], 0xffff, 0
    %else
        RETURNS T_CODE3 | 3, UDATA32, 0
        RETURNS T_CONF3 | 3, UDATA32, 0
        RETURNS T_CONF0 | 3, UDATA32, 0
        REFUSED T_CODE3, UDATA32, GP, T_CODE3           ; RPL below CPL
        REFUSED T_CODE0, UDATA32, GP, T_CODE0
        REFUSED T_CODE0 | 3, UDATA32, GP, T_CODE0
        REFUSED T_NP3 | 3, UDATA32, NP, T_NP3
        REFUSED T_SHORT3 | 3, UDATA32, GP, 0   ; qemu-deviates: no limit check
    %endif
%endmacro
        FILL_TARGETS
        OVER_PROTECTED CASES
        GO_LEGACY
        FAR_DATA
%macro REAL_MODE 1
        TRY     %1
        push    word 0x5555
        push    word (IMAGE >> 4) - 16
        push    word %%there - image_start + 256
        retf    2
        nop
%%there:
        mov     ax, cs
        END
        CHECK_EQ32 [out_cs], (IMAGE >> 4) - 16
        CHECK_BITS32 [out_rax], 0xffff, (IMAGE >> 4) - 16
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16
%endmacro
        OVER    REAL_MODE, REAL, V86_0, V86_3
        ; 64-bit code may return to 64-bit ring 3 code, with a canonical address.
        TRY     L64_0
        push    UDATA64
        push    SNIP_STACK
        push    UCODE64
        push    ring3_64
        o64 retf
ring3_64:
        mov     ax, cs
        END
        EXPECT_OK
        CHECK_EQ32 [out_cs], UCODE64
        TRY     L64_0
        push    UDATA64
        push    SNIP_STACK
        push    UCODE64
        mov     rax, 0x800000000000
        push    rax
        AT
        o64 retf
        END
        EXPECT  GP, 0                                   ; qemu-deviates: faults after the transfer
        TEST_END
