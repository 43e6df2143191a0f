; covers: segmentation.limits, segmentation.expand_down, segmentation.types, segmentation.accessed
; expects: accesses outside limits are #GP(0) or #SS(0), by wrong type #GP(0), and loads set the accessed bit.
%include "prelude.inc"

; DS gets a descriptor of ring 3 over SCRATCH; offsets are relative to its base.
%macro WITH 5                   ; mode, base, limit, access, flags: then the snippet body follows up to END
        SET_DESC GDT + FREE_SEL, %2, %3, %4, %5
        TRY     %1
        mov     ecx, FREE_SEL | 3
        mov     ds, ecx
        AT
%endmacro
%macro FINE 6+
        WITH    %1, %2, %3, %4, %5
        %6
        END
        EXPECT_OK
%endmacro
%macro BAD 6+
        WITH    %1, %2, %3, %4, %5
        %6
        END
        EXPECT  GP, 0           ; qemu-deviates: data segments have neither limits nor types
%endmacro
        ; Byte granularity: the last byte of the access counts.
        FINE    PM32_3, SCRATCH, 0xf, A_UDATA, F_B, mov al, [0xf]
        BAD     PM32_3, SCRATCH, 0xf, A_UDATA, F_B, mov al, [0x10]
        FINE    PM32_3, SCRATCH, 0xf, A_UDATA, F_B, mov eax, [0xc]
        BAD     PM32_3, SCRATCH, 0xf, A_UDATA, F_B, mov eax, [0xd]
        BAD     PM32_3, SCRATCH, 0xf, A_UDATA, F_B, mov [0xf], ax
        BAD     PM32_3, SCRATCH, 0xf, A_UDATA, F_B, mov eax, [-1]
        BAD     PM32_3, SCRATCH, 0xf, A_UDATA, F_B, lock inc dword [0xe]
        FINE    C32_3, SCRATCH, 0xf, A_UDATA, F_B, mov eax, [0xc]
        BAD     C32_3, SCRATCH, 0xf, A_UDATA, F_B, mov eax, [0xd]
        FINE    L64_3, SCRATCH, 0xf, A_UDATA, F_B, mov eax, [abs 0x20000]       ; 64-bit code has no limits
        ; Page granularity.
        FINE    PM32_3, IMAGE, 0, A_UDATA, F_G | F_B, mov al, [0xfff]
        BAD     PM32_3, IMAGE, 0, A_UDATA, F_G | F_B, mov al, [0x1000]
        FINE    PM32_3, 0, 0xfffff, A_UDATA, F_G | F_B, mov eax, [SCRATCH]
        ; Expand-down: offsets above the limit, up to 4 GiB or 64 KiB by B.
        BAD     PM32_3, SCRATCH - 0x1000, 0xfff, 0xf6, F_B, mov al, [0xfff]
        FINE    PM32_3, SCRATCH - 0x1000, 0xfff, 0xf6, F_B, mov al, [0x1000]
        FINE    PM32_3, SCRATCH - 0x1000, 0xfff, 0xf6, F_B, mov al, [0x20000]
        BAD     PM32_3, SCRATCH - 0x1000, 0xfff, 0xf6, F_B, mov eax, [0xffc]
        BAD     PM32_3, SCRATCH - 0x1000, 0xfff, 0xf6, 0, mov al, [0x10000]
        FINE    PM32_3, SCRATCH - 0x1000, 0xfff, 0xf6, 0, mov al, [0xffff]
        BAD     PM32_3, SCRATCH - 0x1000, 0xfff, 0xf6, 0, mov ax, [0xffff]
        BAD     PM32_3, SCRATCH - 0x1000, 0xffff, 0xf6, 0, mov al, [0xffff]
        BAD     PM32_3, 0, 0xfffff, 0xf6, F_G | F_B, mov al, [0x12345]
        ; Types.
        FINE    PM32_3, 0, 0xfffff, 0xf0, F_G | F_B, mov al, [SCRATCH]
        BAD     PM32_3, 0, 0xfffff, 0xf0, F_G | F_B, mov [SCRATCH], al
        BAD     PM32_3, 0, 0xfffff, 0xf0, F_G | F_B, inc byte [SCRATCH]
        FINE    PM32_3, 0, 0xfffff, 0xfa, F_G | F_B, mov al, [SCRATCH]
        BAD     PM32_3, 0, 0xfffff, 0xfa, F_G | F_B, mov [SCRATCH], al
        BAD     PM32_0, 0, 0xfffff, 0xf0, F_G | F_B, mov [SCRATCH], al
        TRY     PM32_3                          ; code segments are never writable, XO not even readable
        mov     [cs:SCRATCH], al
        END
        EXPECT  GP, 0                           ; qemu-deviates: data segments have neither limits nor types
        TRY     PM32_3
        mov     al, [cs:SCRATCH]
        END
        EXPECT_OK
        ; Null segments: loading is fine, using is #GP(0).
        TRY     PM32_3
        xor     ecx, ecx
        mov     ds, ecx
        AT
        mov     al, [SCRATCH]
        END
        EXPECT  GP, 0                           ; qemu-deviates: a null segment is usable
        TRY     C32_3
        xor     ecx, ecx
        mov     es, ecx
        AT
        mov     al, [es:SCRATCH]
        END
        EXPECT  GP, 0                           ; qemu-deviates: a null segment is usable
        TRY     L64_3
        xor     ecx, ecx
        mov     ds, ecx
        mov     es, ecx
        mov     al, [abs SCRATCH]
        END
        EXPECT_OK
        GO_LEGACY
        ; The stack: #SS(0), and the width of the stack pointer from SS.B.
        SET_DESC GDT + FREE_SEL, IMAGE, 0xf7ff, A_UDATA, F_B
        TRY     PM32_3
        mov     ecx, FREE_SEL | 3
        mov     ss, ecx
        mov     esp, 0xf804
        AT
        push    eax
        END
        EXPECT  SS_, 0                          ; qemu-deviates: data segments have neither limits nor types
        CHECK_EQ32 [out_rsp], 0xf804            ; qemu-deviates: data segments have neither limits nor types
        TRY     PM32_3
        mov     ecx, FREE_SEL | 3
        mov     ss, ecx
        mov     ebp, 0xf800
        AT
        mov     al, [ebp]
        END
        EXPECT  SS_, 0                          ; qemu-deviates: data segments have neither limits nor types
        TRY     PM32_3                          ; SS override of a DS operand
        mov     ecx, FREE_SEL | 3
        mov     ss, ecx
        AT
        mov     al, [ss:0xf800]
        END
        EXPECT  SS_, 0                          ; qemu-deviates: data segments have neither limits nor types
        SET_DESC GDT + FREE_SEL, IMAGE, 0xffff, A_UDATA, 0
        TRY     PM32_3                          ; 16-bit stack: only SP moves
        mov     ecx, FREE_SEL | 3
        mov     ss, ecx
        mov     esp, 0x5555f800
        push    eax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rsp], 0x5555f7fc
        CHECK_EQ32 [SNIP_STACK - 4], 0xa0a0a0a0
        TRY     PM32_3                          ; and wraps at 64 KiB
        mov     ecx, FREE_SEL | 3
        mov     ss, ecx
        mov     esp, 0x55550000
        push    eax
        END
        EXPECT_OK
        CHECK_EQ32 [out_rsp], 0x5555fffc
        CHECK_EQ32 [IMAGE + 0xfffc], 0xa0a0a0a0
        ; Code: running over the limit is #GP(0) at the instruction that does not fit.
        SET_DESC GDT + FREE_SEL, 0, 0, A_UCODE, F_B
        mov     eax, last_byte - 2              ; the last byte of the MOV is outside
        mov     [GDT + FREE_SEL], ax
        shr     eax, 16
        or      [GDT + FREE_SEL + 6], al
        TRY     PM32_3
        jmp     FREE_SEL | 3:short_code
short_code:
        nop
        AT
        mov     eax, strict dword 0
last_byte:
        END
        EXPECT  GP, 0                           ; qemu-deviates: running over the limit is not noticed
        ; A near jump beyond the limit faults at the jump.
        SET_DESC GDT + FREE_SEL, IMAGE, 0xffff, A_UCODE, F_B
        mov     dword [in_rbx], 0x10000
        TRY     PM32_3
        jmp     FREE_SEL | 3:.near - image_start
.near:  jmp     ebx
        END
        CHECK_EQ32 [out_vec], GP
        CHECK_EQ32 [out_rip], .near - image_start       ; qemu-deviates: faults at the target
        ; Accessed bits are set by loads, and by nothing else.
        SET_DESC GDT + FREE_SEL, 0, 0xfffff, A_UDATA, F_G | F_B
        TRY     PM32_3
        mov     ecx, FREE_SEL | 3
        lar     eax, ecx
        verr    cx
        END
        CHECK_BITS32 [GDT + FREE_SEL + 4], 0x100, 0
        mov     dword [in_rcx], FREE_SEL | 3
        TRY     PM32_3
        mov     gs, ecx
        END
        CHECK_BITS32 [GDT + FREE_SEL + 4], 0x100, 0x100
        TEST_END
