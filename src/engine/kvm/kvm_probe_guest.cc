// Making the small machine.
#include "engine/kvm/kvm_probe_guest.h"

#include <sys/mman.h>

#include <algorithm>

#include "x86/registers.h"

namespace doppel::kvm {
namespace {

constexpr u64 kTssAddress = 0xfffbd000;  // three pages that Intel's real mode needs

}  // namespace

ProbeGuest::~ProbeGuest() {
  if (memory_ != nullptr) ::munmap(memory_, kMemorySize);
}

Result<void> ProbeGuest::map_memory(std::span<const u8> code) {
  void* base = ::mmap(nullptr, kMemorySize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return fail("engine kvm: no memory");
  memory_ = static_cast<u8*>(base);
  std::ranges::copy(code, memory_);
  kvm_userspace_memory_region region{};
  region.memory_size = kMemorySize;
  region.userspace_addr = reinterpret_cast<u64>(memory_);
  return vm_.apply(KVM_SET_USER_MEMORY_REGION, &region, "guest memory");
}

Result<void> ProbeGuest::create(const KvmDevice& device, std::span<const u8> code) {
  vm_ = KvmFile(UniqueFd(TRY(device.file().call(KVM_CREATE_VM, 0, "creating a machine"))));
  vm_.try_call(KVM_SET_TSS_ADDR, kTssAddress);
  TRY_VOID(map_memory(code));
  const int size = TRY(device.file().call(KVM_GET_VCPU_MMAP_SIZE, 0, "size of a vCPU"));
  vcpu_ = KvmFile(UniqueFd(TRY(vm_.call(KVM_CREATE_VCPU, 0, "creating a vCPU"))));
  TRY_VOID(run_.map(vcpu_, static_cast<u64>(size)));
  kvm_sregs sregs;
  TRY_VOID(vcpu_.apply(KVM_GET_SREGS, &sregs, "reading registers"));
  sregs.cs.selector = 0;
  sregs.cs.base = 0;
  TRY_VOID(vcpu_.apply(KVM_SET_SREGS, &sregs, "loading registers"));
  return restart();
}

Result<kvm_regs> ProbeGuest::registers() const {
  kvm_regs registers;
  TRY_VOID(vcpu_.apply(KVM_GET_REGS, &registers, "reading registers"));
  return registers;
}

Result<void> ProbeGuest::restart() const {
  kvm_regs registers{};
  registers.rflags = x86::kFlagReserved1;
  return vcpu_.apply(KVM_SET_REGS, &registers, "loading registers");
}

}  // namespace doppel::kvm
