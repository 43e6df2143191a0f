; covers: VMCALL, VMMCALL, platform.hypercall
; expects: VMCALL and VMMCALL are KVM's hypercall: -1000 for an unknown number, -1 outside ring 0.
%include "prelude.inc"

        NEED    1, ecx, 31, 'hypervisor'
        mov     eax, 0x40000000
        cpuid
        cmp     ebx, 'KVMK'
        jne     other
        cmp     ecx, 'VMKV'
        jne     other
        mov     dword [in_rax], 0x7fffffff
        TRY     PM32_0
        vmcall
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], -1000
        TRY     PM32_3
        vmmcall
        END
        EXPECT_OK
        CHECK_EQ32 [out_rax], -1
        GO_LONG
        mov     rax, 0x7fffffff
        mov     [in_rax], rax
        TRY     L64_0
        vmcall
        END
        EXPECT_OK
        CHECK_EQ [out_rax], -1000
        TRY     L64_0
        vmmcall
        END
        EXPECT_OK
        CHECK_EQ [out_rax], -1000
        TRY     L64_3
        vmcall
        END
        EXPECT_OK
        CHECK_EQ [out_rax], -1
        GO_LEGACY
        jmp     done32
other:  mov     dword [skip_reason], .name
        jmp     skip_test32
.name:  db      "KVM's hypercalls", 0
done32: TEST_END
