; covers: PUSH.sreg, sensitive.PUSHSEG
; expects: PUSH of a segment register works in every mode and shows the true selector with the ring in its low bits.
%include "prelude.inc"

%macro CASES 1
        TRY     %1
    %if IS_64(%1)
        push    fs
        pop     rax
        push    gs
    %else
        push    cs
      %if IS_16(%1)
        pop     ax
      %else
        pop     eax
      %endif
        push    ss
    %endif
        END
        EXPECT_OK
    %if NO_PM(%1)
        CHECK_BITS32 [out_rax], 0xffff, IMAGE >> 4
        CHECK_BITS32 [SNIP_STACK - 2], 0xffff, IMAGE >> 4
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 2
    %elif IS_64(%1)
        CHECK_BITS32 [out_rax], 0xffff, [out_fs]
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 8
    %else
        CHECK_EQ32 [out_cs], [out_cs]
        CHECK_BITS32 [out_rax], 0xffff, [out_cs]
      %if IS_16(%1)
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 2
      %else
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 4
      %endif
    %endif
    %if IS_64(%1)
%macro GONE 1
        TRY     MODE
        db      %1
        END
        EXPECT  UD, NOERR
%endmacro
      %define MODE %1
        GONE    0x06
        GONE    0x0e
        GONE    0x16
        GONE    0x1e
    %elif IS_16(%1)
        TRY     %1
        o32 push cs                             ; moves the stack pointer by 4
        END
        EXPECT_OK
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 4
    %else
        TRY     %1
        o16 push ds
        END
        EXPECT_OK
        CHECK_BITS32 [out_rsp], 0xffff, SNIP_SP16 - 2
    %endif
%endmacro
        OVER_ALL CASES
        TEST_END
