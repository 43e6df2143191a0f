// Telling the host's virtualization hardware from KVM that is software.
#include <cpuid.h>

#include <algorithm>
#include <array>

#include "engine/kvm/kvm_probe_guest.h"

namespace doppel::kvm {
namespace {

// mov ecx, kRounds; loop: dec ecx; jnz loop; hlt, in 16-bit code.
constexpr u32 kRounds = 20'000;
constexpr u64 kInstructions = 2 * kRounds;
constexpr std::array<u8, 11> kLoop = {0x66, 0xb9, kRounds & 0xff, kRounds >> 8, 0,   0,
                                      0x66, 0x49, 0x75,           0xfc,         0xf4};
// Software KVM here reaches 2 million, hardware billions, KVM inside an emulator several hundred million.
constexpr u64 kRealSpeed = 50'000'000;
constexpr unsigned kTries = 3;

}  // namespace

bool KvmDevice::is_processor_capable() {
  u32 a = 0;
  u32 b = 0;
  u32 c = 0;
  u32 d = 0;
  constexpr u32 kVmx = 1u << 5;  // CPUID.1:ECX
  constexpr u32 kSvm = 1u << 2;  // CPUID.80000001H:ECX
  if (__get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kVmx) != 0) return true;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (c & kSvm) != 0;
}

Result<u64> KvmDevice::measure_speed(Inputs& inputs) const {
  ProbeGuest guest;
  TRY_VOID(guest.create(*this, kLoop));
  u64 best = 0;
  for (unsigned i = 0; i < kTries && best < kRealSpeed; ++i) {
    TRY_VOID(guest.restart());
    const Nanoseconds start = inputs.now();
    TRY_VOID(guest.vcpu().apply(KVM_RUN, 0, "running a loop"));
    const u64 spent = static_cast<u64>((inputs.now() - start).count());
    best = std::max(best, kInstructions * 1'000'000'000 / std::max<u64>(spent, 1));
  }
  return best;
}

bool KvmDevice::is_real(Inputs& inputs) const {
  if (!is_processor_capable()) return false;
  const Result<u64> speed = measure_speed(inputs);
  return speed && *speed >= kRealSpeed;
}

}  // namespace doppel::kvm
