// Creating the machine inside KVM.
#include "engine/kvm/kvm_vm.h"

#include "base/verify.h"
#include "engine/kvm/kvm_msrs.h"
#include "engine/kvm/kvm_signal.h"

namespace doppel::kvm {
namespace {

// Four pages below 4 GiB that Intel processors need for real mode; outside RAM and known devices.
constexpr u64 kTssAddress = 0xfffbd000;
// A machine's rate that is this close to the host's needs no scaling.
constexpr u64 kRateTolerance = 10'000;  // one part in

}  // namespace

Result<std::unique_ptr<KvmVm>> KvmVm::create(KvmDevice device, GuestMemory& memory, u64 tsc_hz,
                                             DirtyTracking tracking) {
  TRY_VOID(install_kick_signal());
  auto vm = std::unique_ptr<KvmVm>(new KvmVm(std::move(device), memory));
  TRY_VOID(vm->choose_tsc_rate(tsc_hz));
  vm->file_ = KvmFile(UniqueFd(TRY(vm->device_.file().call(KVM_CREATE_VM, 0, "creating a machine"))));
  if (vm->device_.file().try_call(KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0) {
    TRY_VOID(vm->file_.apply(KVM_SET_TSS_ADDR, kTssAddress, "placing the task segment of real mode"));
  }
  TRY_VOID(vm->add_slots());
  if (tracking == DirtyTracking::kBest) vm->prepare_dirty_rings();
  TRY_VOID(vm->set_msr_policy());
  TRY_VOID(vm->ask_for_failures());
  return vm;
}

Result<void> KvmVm::choose_tsc_rate(u64 tsc_hz) {
  const u64 host_hz = u64{device_.tsc_khz()} * 1000;
  const u64 distance = tsc_hz > host_hz ? tsc_hz - host_hz : host_hz - tsc_hz;
  if (distance <= host_hz / kRateTolerance) return {};
  if (!device_.can_scale_tsc()) {
    return fail(
        "engine kvm: the machine's TSC runs at {} MHz, the host's at {} MHz, and this host cannot scale it",
        tsc_hz / 1'000'000, host_hz / 1'000'000);
  }
  scaled_tsc_khz_ = static_cast<u32>(tsc_hz / 1000);
  return {};
}

Result<void> KvmVm::add_slots() {
  slots_.push_back({0, GuestPhys(0), memory_.low_size()});
  if (memory_.high_size() != 0) {
    slots_.push_back({1, GuestPhys(GuestMemory::kHighRamStart), memory_.high_size()});
  }
  for (const Slot& slot : slots_) TRY_VOID(set_slot(slot, 0));
  return {};
}

Result<void> KvmVm::set_slot(const Slot& slot, u32 flags) {
  const kvm_userspace_memory_region region{
      .slot = slot.number,
      .flags = flags,
      .guest_phys_addr = slot.address.value(),
      .memory_size = slot.size,
      .userspace_addr = reinterpret_cast<u64>(memory_.host(slot.address))};
  TRY_VOID(file_.apply(KVM_SET_USER_MEMORY_REGION, &region, "guest memory"));
  return {};
}

// KVM keeps the registers of kvm_msrs.h; everything else, and whatever KVM refuses, comes to user space.
Result<void> KvmVm::set_msr_policy() {
  kvm_enable_cap exits{};
  exits.cap = KVM_CAP_X86_USER_SPACE_MSR;
  exits.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
  TRY_VOID(file_.apply(KVM_ENABLE_CAP, &exits, "model-specific registers in user space"));
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
  std::vector<std::array<u8, 8>> bitmaps;
  const std::vector<MsrRange> ranges = allowed_ranges(device_);
  VERIFY(ranges.size() <= KVM_MSR_FILTER_MAX_RANGES);
  bitmaps.reserve(ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    bitmaps.push_back(ranges[i].bitmap);
    filter.ranges[i] = {.flags = ranges[i].is_read_only ? u32{KVM_MSR_FILTER_READ}
                                                        : u32{KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE},
                        .nmsrs = ranges[i].count,
                        .base = ranges[i].first,
                        .bitmap = bitmaps.back().data()};
  }
  TRY_VOID(file_.apply(KVM_X86_SET_MSR_FILTER, &filter, "the list of model-specific registers"));
  return {};
}

// Else KVM raises #UD in user code for instructions that it cannot emulate.
Result<void> KvmVm::ask_for_failures() {
  if (device_.file().try_call(KVM_CHECK_EXTENSION, KVM_CAP_EXIT_ON_EMULATION_FAILURE) <= 0) return {};
  kvm_enable_cap exits{};
  exits.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE;
  exits.args[0] = 1;
  return file_.apply(KVM_ENABLE_CAP, &exits, "exits for instructions that are not emulated");
}

}  // namespace doppel::kvm
