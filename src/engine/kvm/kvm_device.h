// KvmDevice: /dev/kvm, checked for everything the engine needs.
#pragma once

#include <optional>
#include <vector>

#include "base/inputs.h"
#include "engine/kvm/kvm_ioctl.h"
#include "x86/features.h"

namespace doppel::kvm {

// The host's KVM. Made by whoever wants to know whether the engine works here; used on one thread.
class KvmDevice {
 public:
  // One line for each thing that is missing: the device, the right to open it, its version, a capability.
  static Result<KvmDevice> open(const char* path = "/dev/kvm");

  const KvmFile& file() const { return file_; }
  // Rate of a guest's time-stamp counter, in kHz.
  u32 tsc_khz() const { return tsc_khz_; }
  bool can_scale_tsc() const { return scales_tsc_; }
  // False where KVM takes an offset and forgets it, as software KVM does: guests see the host's TSC.
  bool can_offset_tsc() const { return offsets_tsc_; }
  // What a guest of this KVM may be offered, with what the machine itself adds: x2APIC and TSC deadline
  // timer.
  const x86::FeatureSet& features() const { return features_; }
  // Does KVM keep this model-specific register itself?
  bool keeps_msr(u32 index) const;

  // Does the processor say that it can virtualize? Where it does not, KVM is software.
  static bool is_processor_capable();
  // Instructions a second of a guest's loop; about 10 ms where KVM is software, less than 1 ms where it is
  // not.
  Result<u64> measure_speed(Inputs& inputs) const;
  // Is this KVM worth choosing without being asked for?
  bool is_real(Inputs& inputs) const;

 private:
  Result<void> check_capabilities() const;
  Result<void> read_clock();
  Result<void> read_features();
  Result<void> read_msr_list();

  KvmFile file_;
  u32 tsc_khz_ = 0;
  bool scales_tsc_ = false;
  bool offsets_tsc_ = false;
  x86::FeatureSet features_;
  std::vector<u32> kept_msrs_;
};

}  // namespace doppel::kvm
