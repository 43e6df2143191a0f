// Telling the host's virtualization hardware from KVM that is software.
#include <cpuid.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "engine/kvm/kvm_device.h"
#include "x86/registers.h"

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

// One page of memory for the measured guest, unmapped at the end.
class Page {
 public:
  static constexpr u64 kSize = 4096;
  Page() : base_(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;
  ~Page() {
    if (is_valid()) ::munmap(base_, kSize);
  }
  bool is_valid() const { return base_ != MAP_FAILED; }
  u8* data() const { return static_cast<u8*>(base_); }

 private:
  void* base_;
};

Result<void> prepare(const KvmFile& vcpu) {
  kvm_sregs sregs;
  TRY_VOID(vcpu.apply(KVM_GET_SREGS, &sregs, "reading registers"));
  sregs.cs.selector = 0;
  sregs.cs.base = 0;
  TRY_VOID(vcpu.apply(KVM_SET_SREGS, &sregs, "loading registers"));
  return {};
}

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
  const KvmFile vm(UniqueFd(TRY(file_.call(KVM_CREATE_VM, 0, "creating a machine"))));
  const Page page;
  if (!page.is_valid()) return fail("engine kvm: no memory");
  std::ranges::copy(kLoop, page.data());
  constexpr u64 kTssAddress = 0xfffbd000;  // three pages that Intel's real mode needs
  vm.try_call(KVM_SET_TSS_ADDR, kTssAddress);
  kvm_userspace_memory_region region{};
  region.memory_size = Page::kSize;
  region.userspace_addr = reinterpret_cast<u64>(page.data());
  TRY_VOID(vm.apply(KVM_SET_USER_MEMORY_REGION, &region, "guest memory"));
  const KvmFile vcpu(UniqueFd(TRY(vm.call(KVM_CREATE_VCPU, 0, "creating a vCPU"))));
  TRY_VOID(prepare(vcpu));
  u64 best = 0;
  for (unsigned i = 0; i < kTries && best < kRealSpeed; ++i) {
    kvm_regs registers{};
    registers.rflags = x86::kFlagReserved1;
    TRY_VOID(vcpu.apply(KVM_SET_REGS, &registers, "loading registers"));
    const Nanoseconds start = inputs.now();
    TRY_VOID(vcpu.apply(KVM_RUN, 0, "running a loop"));
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
