; covers: POP.sreg, sensitive.POPSEG
; expects: POP to a segment register makes the checks of MOV; a refused POP leaves the stack pointer alone.
%include "prelude.inc"
%include "descriptors.inc"

%macro LOAD 4                   ; register, selector, vector (UD: accepted), error code
        TRY     MODE
    %if IS_16(MODE)
        push    word %2
    %else
        push    %2
    %endif
        AT
        pop     %1
        END
    %if %3 == UD
        EXPECT_OK
        CHECK_BITS32 [out_%1], 0xffff, %2
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16
    %else
        EXPECT  %3, %4
      %if IS_16(MODE)
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 2
      %elif IS_64(MODE)
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 8
      %else
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 4
      %endif
    %endif
%endmacro
%macro CASES 1
    %define MODE %1
    %assign r0 (IS_RING3(%1) == 0)
        LOAD    fs, 0, UD, 0
        LOAD    gs, 3, UD, 0
        LOAD    fs, D_DATA | 3, GP, D_DATA
        LOAD    gs, D_DATA3 | 3, UD, 0
        LOAD    fs, D_XO3 | 3, GP, D_XO3
        LOAD    fs, D_NP3 | 3, NP, D_NP3
        LOAD    gs, 0x1000, GP, 0x1000
    %if !IS_64(MODE)
        LOAD    ds, D_CONF | 3, UD, 0
        LOAD    es, D_CONFXO, GP, D_CONFXO
        LOAD    ss, 0, GP, 0
        LOAD    ss, D_RO3 | 3, GP, D_RO3
        LOAD    ss, 0x1003, GP, 0x1000
      %if r0
        LOAD    ds, D_DATA, UD, 0
        LOAD    ss, D_DATA3 | 3, GP, D_DATA3
      %else
        LOAD    ds, D_DATA, GP, D_DATA
        LOAD    ss, D_NP3 | 3, SS_, D_NP3
        LOAD    ss, D_DATA3, GP, D_DATA3
      %endif
    %else
%macro GONE 1
        TRY     MODE
        db      %1
        END
        EXPECT  UD, NOERR
%endmacro
        GONE    0x07
        GONE    0x17
        GONE    0x1f
    %endif
%endmacro
        FILL_DESCRIPTORS
        OVER_PROTECTED CASES
        GO_LEGACY
%macro ANYTHING 1
        TRY     %1
        push    word 0xabcd
        pop     ds
        push    word 0x1234
        pop     fs
        mov     ax, ds
        mov     dx, fs
        END
        CHECK_BITS32 [out_rax], 0xffff, 0xabcd
        CHECK_BITS32 [out_rdx], 0xffff, 0x1234
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16
%endmacro
        OVER    ANYTHING, REAL, V86_0, V86_3
        TRY     PM32_3                          ; 16-bit operand size pops a word
        push    word D_DATA3 | 3
        o16 pop es
        END
        EXPECT_OK
        CHECK_EQ32 [out_rsp], SNIP_STACK
        TEST_END
