// What KVM leaves to this process: ports, device memory, model-specific registers, its own failures.
#include <algorithm>

#include "base/log.h"
#include "engine/kvm/kvm_msrs.h"
#include "engine/kvm/kvm_vcpu.h"
#include "x86/msr.h"

namespace doppel::kvm {

// One exit has all iterations of a string instruction that KVM took together.
void KvmVcpu::do_port_access() {
  ++statistics_.port_exits;
  needs_completion_ = true;
  const auto io = run_->io;
  u8* data = run_.bytes(io.data_offset);
  const unsigned size = io.size;
  for (u32 i = 0; i < io.count; ++i, data += size) {
    u32 value = 0;
    if (io.direction == KVM_EXIT_IO_IN) {
      value = platform_.read_port(io.port, size);
      std::memcpy(data, &value, size);
    } else {
      std::memcpy(&value, data, size);
      platform_.write_port(io.port, size, value);
    }
  }
}

void KvmVcpu::do_mmio_access() {
  ++statistics_.mmio_exits;
  needs_completion_ = true;
  auto& mmio = run_->mmio;
  const std::span<u8> data(mmio.data, std::min<std::size_t>(mmio.len, sizeof(mmio.data)));
  const GuestPhys address(mmio.phys_addr);
  if (mmio.is_write != 0)
    platform_.write_mmio(address, data);
  else
    platform_.read_mmio(address, data);
  knows_platform_ = false;  // the page of the local APIC has the task priority
}

// What KVM keeps comes here only when KVM refuses it.
void KvmVcpu::do_msr_read() {
  ++statistics_.msr_exits;
  needs_completion_ = true;
  u64 value = 0;
  const bool is_refused = run_->msr.reason == KVM_MSR_EXIT_REASON_INVAL &&
                          (run_->msr.index < x86::kMsrX2ApicFirst || run_->msr.index > x86::kMsrX2ApicLast);
  const bool is_read = !is_refused && core_.read_msr(run_->msr.index, value);
  core_.has_fault = false;
  run_->msr.error = is_read ? 0 : 1;
  run_->msr.data = value;
}

void KvmVcpu::do_msr_write() {
  ++statistics_.msr_exits;
  needs_completion_ = true;
  const u32 index = run_->msr.index;
  const bool is_refused = run_->msr.reason == KVM_MSR_EXIT_REASON_INVAL &&
                          (index < x86::kMsrX2ApicFirst || index > x86::kMsrX2ApicLast);
  core_.state.tsc_offset = kvm_tsc_offset_ + vm_.tsc_base();
  const bool is_written = !is_refused && core_.write_msr(index, run_->msr.data);
  core_.has_fault = false;
  run_->msr.error = is_written ? 0 : 1;
  knows_platform_ = false;
  if (!is_written) return;
  if (index != x86::kMsrTsc && index != x86::kMsrTscAdjust) return;
  if (const Result<void> done = write_tsc_offset(core_.state.tsc_offset); !done) {
    stop_for_good(done.error().message);
  }
}

void KvmVcpu::report_error() {
  if (run_->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
      run_->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
    ++statistics_.unsupported;
    is_unsupported_ = true;
    return;
  }
  if (run_->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
    kvm_regs regs{};
    file_.try_call(KVM_GET_REGS, &regs);
    return stop_for_good(fmt::format("KVM cannot go on at {:#x}: internal error {}", regs.rip,
                                     static_cast<u32>(run_->internal.suberror)));
  }
  if (run_->exit_reason == KVM_EXIT_FAIL_ENTRY) {
    return stop_for_good(fmt::format("the processor refuses the guest's state: reason {:#x}",
                                     static_cast<u64>(run_->fail_entry.hardware_entry_failure_reason)));
  }
  stop_for_good(fmt::format("unexpected exit {}", static_cast<u32>(run_->exit_reason)));
}

}  // namespace doppel::kvm
