// KvmVm: one machine inside the host's KVM: RAM slots, MSR policy, time base, dirty log.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "cpu/platform.h"
#include "engine/kvm/kvm_device.h"
#include "engine/kvm/kvm_dirty.h"
#include "memory/guest_memory.h"

namespace doppel::kvm {

// How KVM is to tell which frames the guest wrote: by rings where it has them, or by the log in any case.
enum class DirtyTracking : u8 { kBest, kLog };

// What the vCPUs of a machine share in KVM. Owned by the machine from its first use of this engine to its
// end, also while another engine runs: KVM cannot take a vCPU back.
class KvmVm {
 public:
  // `tsc_hz`: what the machine says its TSC runs at.
  static Result<std::unique_ptr<KvmVm>> create(KvmDevice device, GuestMemory& memory, u64 tsc_hz,
                                               DirtyTracking tracking = DirtyTracking::kBest);
  // Before a new vCPU runs.
  Result<void> add_vcpu(const KvmFile& vcpu);

  const KvmDevice& device() const { return device_; }
  const KvmFile& file() const { return file_; }
  GuestMemory& memory() { return memory_; }
  // To be set on each vCPU; 0: the host's own rate.
  u32 scaled_tsc_khz() const { return scaled_tsc_khz_; }

  // --- Time. KVM's TSC (the host's, scaled) minus the machine's (CpuPlatform::tsc()); any thread.
  u64 tsc_base() const { return tsc_base_.load(std::memory_order_relaxed); }
  void set_tsc_base(u64 base, u64 measured_at) {
    tsc_base_.store(base, std::memory_order_relaxed);
    tsc_measured_at_.store(measured_at, std::memory_order_relaxed);
  }
  // Machine TSC of the last measurement; 0: never.
  u64 tsc_measured_at() const { return tsc_measured_at_.load(std::memory_order_relaxed); }

  // An error where debug registers do not stop a guest. On one thread; costs a moment the first time.
  Result<void> check_debug_registers();
  void assume_debug_registers() { has_debug_registers_ = true; }

  // --- Frames the guest wrote. collect() calls `visit` once for each frame written since start() or the last
  // collect(); writes by the process itself are not among them. On one thread; while vCPUs run, a write may
  // show one collect() later.
  Result<void> start_dirty_log();
  Result<void> collect_dirty(const std::function<void(GuestPhys)>& visit);
  Result<void> stop_dirty_log();
  bool has_dirty_rings() const { return rings_ != nullptr; }
  // A vCPU's ring is full; on its thread.
  Result<void> empty_dirty_rings() { return rings_->harvest(); }

 private:
  struct Slot {
    u32 number;
    GuestPhys address{0};
    u64 size;
  };

  KvmVm(KvmDevice device, GuestMemory& memory) : device_(std::move(device)), memory_(memory) {}
  Result<void> choose_tsc_rate(u64 tsc_hz);
  Result<void> add_slots();
  void prepare_dirty_rings();
  Result<PageBitmap> read_log(const Slot& slot) const;
  Result<void> set_slot(const Slot& slot, u32 flags);
  Result<void> set_msr_policy();
  Result<void> ask_for_failures();

  KvmDevice device_;
  GuestMemory& memory_;
  KvmFile file_;
  std::vector<Slot> slots_;
  std::unique_ptr<DirtyRings> rings_;  // null: KVM has none, and keeps a log
  u32 scaled_tsc_khz_ = 0;
  std::optional<bool> has_debug_registers_;  // nothing: not tried yet
  std::atomic<u64> tsc_base_ = 0;
  std::atomic<u64> tsc_measured_at_ = 0;
};

}  // namespace doppel::kvm
