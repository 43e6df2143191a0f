; covers: modes.sixteen_bit, PUSHA, PUSHAD, POPA, POPAD, ENTER, LEAVE, XLAT, BOUND, LES.16
; expects: in 16-bit code operands, addresses and the stack are 16 bits wide, prefixes make them 32, offsets wrap.
%include "prelude.inc"

%macro RESULT 2                 ; register, low half
        CHECK_BITS32 [out_%1], 0xffff, %2
%endmacro
%macro STACK16 1
        TRY     %1                              ; immediates: sign-extended bytes, words, doublewords
        push    byte -2
        push    word 0x1234
        push    dword 0x56789abc
        pop     ecx
        pop     dx
        pop     si
        mov     di, sp
        END
        EXPECT_OK
        CHECK_EQ32 [out_rcx], 0x56789abc
        RESULT  rdx, 0x1234
        RESULT  rsi, 0xfffe
        RESULT  rdi, SNIP_SP16
        TRY     %1                              ; all registers, both widths; SP is not loaded
        mov     bx, 0x3333
        pusha
        mov     bp, sp
        mov     ax, [bp + 6]
        xor     bx, bx
        popa
        mov     cx, bx
        pushad
        mov     ebx, 0x44444444
        mov     dx, sp
        popad
        mov     di, sp
        END
        EXPECT_OK
        RESULT  rcx, 0x3333
        RESULT  rbx, 0x3333
        RESULT  rdi, SNIP_SP16
        TRY     %1
        pushad
        mov     cx, sp
        mov     bp, sp
        mov     eax, [bp + 12]
        END
        RESULT  rcx, SNIP_SP16 - 32
        RESULT  rax, SNIP_SP16
        TRY     %1                              ; frames
        mov     bp, 0x7777
        enter   6, 0
        mov     cx, sp
        mov     dx, bp
        mov     ax, [bp]
        leave
        mov     si, sp
        mov     di, bp
        END
        EXPECT_OK
        RESULT  rcx, SNIP_SP16 - 8
        RESULT  rdx, SNIP_SP16 - 2
        RESULT  rax, 0x7777
        RESULT  rsi, SNIP_SP16
        RESULT  rdi, 0x7777
        TRY     %1                              ; nested: the old frame pointers are copied
        mov     bp, SCRATCH16 + 16
        mov     word [SCRATCH16 + 14], 0xbeef
        enter   4, 2
        mov     cx, sp
        mov     dx, bp
        mov     ax, [bp - 2]
        mov     bx, [bp - 4]
        END
        EXPECT_OK
        RESULT  rcx, SNIP_SP16 - 10
        RESULT  rdx, SNIP_SP16 - 2
        RESULT  rax, 0xbeef
        RESULT  rbx, SNIP_SP16 - 2
        TRY     %1                              ; calls and returns
        push    word 0x5555
        call    near %%sub
        mov     dx, sp
        mov     bx, %%sub2 - image_start
        call    bx
        jmp     short %%end
%%sub:  mov     bp, sp
        mov     cx, [bp]
        ret     2
%%sub2: mov     si, sp
        ret
%%end:  nop
        END
        EXPECT_OK
        RESULT  rdx, SNIP_SP16
        RESULT  rsi, SNIP_SP16 - 2
        TRY     %1                              ; a doubleword return address
        o32 call dword %%sub3
        jmp     short %%end3
%%sub3: mov     bp, sp
        mov     ecx, [bp]
        o32 ret
%%end3: mov     dx, sp
        END
        EXPECT_OK
        CHECK_BITS32 [out_rcx], 0xffff0000, 0
        RESULT  rdx, SNIP_SP16
%endmacro
%macro ADDRESSES 1
        mov     dword [SCRATCH], 0x03020100
        mov     dword [SCRATCH + 4], 0x07060504
        mov     dword [SCRATCH + 8], 0x0b0a0908
        TRY     %1
        mov     bx, SCRATCH16
        mov     si, 1
        mov     di, 2
        mov     bp, SCRATCH16 + 3
        mov     al, [bx + si]
        mov     ah, [bx + di + 4]
        mov     cl, [bp + si]
        mov     ch, [bp + di - 2]
        mov     dl, [di + SCRATCH16 + 9]
        mov     dh, [bp]
        END
        EXPECT_OK
        RESULT  rax, 0x0601
        RESULT  rcx, 0x0304
        RESULT  rdx, 0x030b
        TRY     %1                              ; effective addresses wrap at 64 KiB, 32-bit ones do not
        mov     bx, 0xfff0
        mov     si, SCRATCH16 + 0x15
        mov     al, [bx + si]
        lea     cx, [bx + si]
        mov     ebx, 0x0000fff0
        movzx   esi, si
        lea     edx, [ebx + esi]
        lea     di, [ebx + esi]
        END
        EXPECT_OK
        CHECK_BITS32 [out_rax], 0xff, 5
        RESULT  rcx, SCRATCH16 + 5
        CHECK_EQ32 [out_rdx], SCRATCH16 + 0x10005
        RESULT  rdi, SCRATCH16 + 5
        TRY     %1
        mov     eax, SCRATCH16
        mov     ecx, 2
        mov     edx, [eax + ecx * 2 + 1]
        a32 mov bl, [SCRATCH16 + 3]
        END
        EXPECT_OK
        CHECK_EQ32 [out_rdx], 0x08070605
        CHECK_BITS32 [out_rbx], 0xff, 3
        TRY     %1
        mov     bx, SCRATCH16
        mov     al, 7
        xlatb
        mov     cl, al
        mov     ebx, SCRATCH16 + 1
        mov     al, 7
        a32 xlatb
        END
        EXPECT_OK
        CHECK_BITS32 [out_rcx], 0xff, 7
        CHECK_BITS32 [out_rax], 0xff, 8
%endmacro
%macro STRINGS 1
        mov     dword [SCRATCH], 0x03020100
        mov     dword [SCRATCH + 4], 0x07060504
        mov     dword [SCRATCH + 8], 0
        mov     dword [in_rcx], 0x10002          ; CX counts, ECX's upper half stays
        mov     dword [in_rsi], 0x10000 | SCRATCH16
        mov     dword [in_rdi], 0x10000 | SCRATCH16 + 8
        TRY     %1
        rep movsw
        END
        EXPECT_OK
        CHECK_EQ32 [SCRATCH + 8], 0x03020100
        CHECK_EQ32 [out_rcx], 0x10000
        CHECK_EQ32 [out_rsi], 0x10000 | SCRATCH16 + 4
        CHECK_EQ32 [out_rdi], 0x10000 | SCRATCH16 + 12
        mov     dword [in_rax], 0x06
        mov     dword [in_rcx], 0xffff
        mov     dword [in_rdi], SCRATCH16
        TRY     %1
        repne scasb
        END
        EXPECT_OK
        RESULT  rdi, SCRATCH16 + 7
        RESULT  rcx, 0xfff8
        mov     dword [in_rcx], 8
        mov     dword [in_rsi], SCRATCH16
        mov     dword [in_rdi], SCRATCH16 + 8
        TRY     %1
        repe cmpsb
        lodsd
        mov     [SCRATCH16 + 16], eax
        stosb
        END
        EXPECT_OK
        RESULT  rcx, 3
        RESULT  rsi, SCRATCH16 + 9
        RESULT  rdi, SCRATCH16 + 14
        CHECK_EQ32 [SCRATCH + 16], 0x00070605
%endmacro
%macro ARITHMETIC 1
        TRY     %1
        mov     ax, 0x1234
        mov     bx, 0x5678
        mul     bx
        mov     cx, dx
        mov     si, ax
        mov     bx, 0x9abc
        div     bx
        mov     di, ax
        END
        EXPECT_OK
        RESULT  rcx, 0x0626
        RESULT  rsi, 0x0060
        RESULT  rdi, 0x0a2c
        TRY     %1
        mov     al, 0x79
        add     al, 0x35
        daa
        mov     cl, al
        mov     al, 0x15
        sub     al, 0x27
        das
        mov     ch, al
        mov     ax, 0x0035
        add     al, 0x39
        aaa
        mov     dx, ax
        mov     ax, 77
        aam
        mov     bx, ax
        aad
        mov     si, ax
        mov     ax, -2
        cwde
        mov     edi, eax
        END
        EXPECT_OK
        RESULT  rcx, 0x8814
        RESULT  rdx, 0x0104
        RESULT  rbx, 0x0707
        RESULT  rsi, 77
        CHECK_EQ32 [out_rdi], 0xfffffffe
        mov     dword [SCRATCH], 0x0005fffe      ; -2 .. 5
        TRY     %1
        mov     ax, -2
        bound   ax, [SCRATCH16]
        mov     ax, 5
        bound   ax, [SCRATCH16]
        inc     ax
        AT
        bound   ax, [SCRATCH16]
        END
        EXPECT  BR, NOERR
        TRY     %1                              ; the upper halves stay
        mov     eax, 0x11112222
        mov     ecx, eax
        mov     ax, 0x3333
        add     cx, ax
        xchg    ax, cx
        movsx   edx, cl
        shl     cx, 4
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], 0x11115555
        CHECK_EQ32 [out_rcx], 0x11113330
        CHECK_EQ32 [out_rdx], 0x33
%endmacro
%macro CASES 1
        STACK16 %1
        ADDRESSES %1
        STRINGS %1
        ARITHMETIC %1
%endmacro
        OVER    CASES, REAL, V86_0, V86_3, PM16_0, PM16_3, C16_0, C16_3
        TEST_END
