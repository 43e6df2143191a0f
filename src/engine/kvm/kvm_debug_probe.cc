// Finding out whether this KVM's debug registers stop a guest.
#include <array>

#include "engine/kvm/kvm_probe_guest.h"
#include "engine/kvm/kvm_vm.h"
#include "x86/registers.h"

namespace doppel::kvm {
namespace {

// nop; nop; mov [100h], al; nop; hlt, in 16-bit code at address 0.
constexpr std::array<u8, 7> kCode = {0x90, 0x90, 0xa2, 0x00, 0x01, 0x90, 0xf4};
constexpr u64 kBreakpoint = 1;
constexpr u64 kWatched = 0x100;
constexpr u64 kBehindTheWrite = 5;
// DR0 stops execution, DR1 the writing of one byte; both enabled for all tasks.
constexpr u64 kDr7 = x86::kDr7Fixed | 0x2 | 0x8 | 0x1 << 20;

Result<bool> stops_at(const ProbeGuest& guest, u64 rip) {
  TRY_VOID(guest.vcpu().apply(KVM_RUN, 0, "running a guest with debug registers"));
  return guest.exit_reason() == KVM_EXIT_DEBUG && TRY(guest.registers()).rip == rip;
}

}  // namespace

Result<bool> has_debug_registers(const KvmDevice& device) {
  ProbeGuest guest;
  TRY_VOID(guest.create(device, kCode));
  kvm_guest_debug debug{};
  debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  debug.arch.debugreg[0] = kBreakpoint;
  debug.arch.debugreg[1] = kWatched;
  debug.arch.debugreg[7] = kDr7;
  TRY_VOID(guest.vcpu().apply(KVM_SET_GUEST_DEBUG, &debug, "debug registers"));
  if (!TRY(stops_at(guest, kBreakpoint))) return false;
  debug.arch.debugreg[0] = kWatched;  // no code there
  TRY_VOID(guest.vcpu().apply(KVM_SET_GUEST_DEBUG, &debug, "debug registers"));
  return stops_at(guest, kBehindTheWrite);
}

Result<void> KvmVm::check_debug_registers() {
  if (!has_debug_registers_) has_debug_registers_ = TRY(has_debug_registers(device_));
  if (*has_debug_registers_) return {};
  return fail("engine kvm: debug registers do not stop guests of this host's KVM, which is software");
}

}  // namespace doppel::kvm
