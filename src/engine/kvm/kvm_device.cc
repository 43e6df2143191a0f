// Opening /dev/kvm and asking what it can do.
#include "engine/kvm/kvm_device.h"

#include <fcntl.h>

#include <algorithm>

namespace doppel::kvm {
namespace {

struct Need {
  int capability;
  std::string_view name;
  std::string_view purpose;
};

#define DOPPEL_KVM_NEED(name, purpose) {name, #name, purpose}
constexpr Need kNeeds[] = {
    DOPPEL_KVM_NEED(KVM_CAP_USER_MEMORY, "guest RAM from this process"),
    DOPPEL_KVM_NEED(KVM_CAP_IMMEDIATE_EXIT, "interrupting a vCPU"),
    DOPPEL_KVM_NEED(KVM_CAP_USER_NMI, "non-maskable interrupts"),
    DOPPEL_KVM_NEED(KVM_CAP_VCPU_EVENTS, "events in the vCPU's state"),
    DOPPEL_KVM_NEED(KVM_CAP_DEBUGREGS, "debug registers"),
    DOPPEL_KVM_NEED(KVM_CAP_XSAVE, "vector registers"),
    DOPPEL_KVM_NEED(KVM_CAP_XCRS, "XCR0"),
    DOPPEL_KVM_NEED(KVM_CAP_SREGS2, "page-directory pointers; Linux 5.14"),
    DOPPEL_KVM_NEED(KVM_CAP_X86_USER_SPACE_MSR, "model-specific registers; Linux 5.10"),
    DOPPEL_KVM_NEED(KVM_CAP_X86_MSR_FILTER, "model-specific registers; Linux 5.10"),
    DOPPEL_KVM_NEED(KVM_CAP_VCPU_ATTRIBUTES, "the TSC offset; Linux 5.16"),
    DOPPEL_KVM_NEED(KVM_CAP_GET_TSC_KHZ, "the TSC's rate"),
    DOPPEL_KVM_NEED(KVM_CAP_EXT_CPUID, "CPUID"),
};
#undef DOPPEL_KVM_NEED

constexpr u32 kMaxCpuidEntries = 256;

u32 register_of(const kvm_cpuid_entry2& entry, x86::CpuidRegister which) {
  switch (which) {
    case x86::CpuidRegister::kEax:
      return entry.eax;
    case x86::CpuidRegister::kEbx:
      return entry.ebx;
    case x86::CpuidRegister::kEcx:
      return entry.ecx;
    case x86::CpuidRegister::kEdx:
      break;
  }
  return entry.edx;
}

}  // namespace

Result<KvmDevice> KvmDevice::open(const char* path) {
  KvmDevice device;
  UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (!fd.is_valid() && (errno == ENOENT || errno == ENXIO || errno == ENODEV)) {
    return fail("engine kvm: no {} on this host; load kvm_intel or kvm_amd, or use --engine interp", path);
  }
  if (!fd.is_valid() && (errno == EACCES || errno == EPERM)) {
    return fail("engine kvm: {} may not be opened; join the group that owns it, or use --engine interp",
                path);
  }
  if (!fd.is_valid()) return fail("engine kvm: {}: {}", path, std::strerror(errno));
  device.file_ = KvmFile(std::move(fd));
  const int version = device.file_.try_call(KVM_GET_API_VERSION, 0);
  if (version < 0) return fail("engine kvm: {} is not KVM", path);
  if (version != KVM_API_VERSION) {
    return fail("engine kvm: {} has API version {}, not {}", path, version, KVM_API_VERSION);
  }
  TRY_VOID(device.check_capabilities());
  TRY_VOID(device.read_clock());
  TRY_VOID(device.read_features());
  TRY_VOID(device.read_msr_list());
  return device;
}

Result<void> KvmDevice::check_capabilities() const {
  for (const Need& need : kNeeds) {
    if (file_.try_call(KVM_CHECK_EXTENSION, need.capability) > 0) continue;
    return fail("engine kvm: this host's KVM lacks {} ({})", need.name, need.purpose);
  }
  return {};
}

Result<void> KvmDevice::read_clock() {
  scales_tsc_ = file_.try_call(KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0;
  const KvmFile vm(UniqueFd(TRY(file_.call(KVM_CREATE_VM, 0, "creating a machine"))));
  const KvmFile vcpu(UniqueFd(TRY(vm.call(KVM_CREATE_VCPU, 0, "creating a vCPU"))));
  tsc_khz_ = static_cast<u32>(TRY(vcpu.call(KVM_GET_TSC_KHZ, 0, "the TSC's rate")));
  u64 value = u64{1} << 40;
  const kvm_device_attr offset{.flags = 0,
                               .group = KVM_VCPU_TSC_CTRL,
                               .attr = KVM_VCPU_TSC_OFFSET,
                               .addr = reinterpret_cast<u64>(&value)};
  if (tsc_khz_ == 0 || vcpu.try_call(KVM_HAS_DEVICE_ATTR, &offset) != 0) {
    return fail("engine kvm: this host's KVM lacks KVM_VCPU_TSC_OFFSET (the TSC offset; Linux 5.16)");
  }
  const u64 wanted = value;
  TRY_VOID(vcpu.apply(KVM_SET_DEVICE_ATTR, &offset, "the TSC's offset"));
  TRY_VOID(vcpu.apply(KVM_GET_DEVICE_ATTR, &offset, "the TSC's offset"));
  offsets_tsc_ = value == wanted;
  return {};
}

Result<void> KvmDevice::read_features() {
  CpuidArray array(kMaxCpuidEntries);
  TRY_VOID(file_.apply(kGetSupportedCpuid, array.data(), "supported CPUID"));
  for (unsigned i = 0; i < x86::kFeatureCount; ++i) {
    const auto feature = static_cast<x86::Feature>(i);
    const x86::FeatureInfo& info = x86::feature_info(feature);
    for (u32 n = 0; n < array.count(); ++n) {
      const kvm_cpuid_entry2& entry = array.elements()[n];
      if (entry.function != info.leaf || entry.index != info.subleaf) continue;
      if (bit(register_of(entry, info.reg), info.bit)) features_.add(feature);
    }
  }
  // The machine's own, or without meaning for the processor.
  features_.add({x86::Feature::kApic, x86::Feature::kX2Apic, x86::Feature::kTscDeadline, x86::Feature::kHtt,
                 x86::Feature::kHypervisor, x86::Feature::kTscAdjust, x86::Feature::kMtrr,
                 x86::Feature::kSelfSnoop});
  return {};
}

Result<void> KvmDevice::read_msr_list() {
  MsrList empty(0);
  file_.try_call(kGetMsrIndexList, empty.data());  // fails with E2BIG and tells the number
  MsrList array(empty.count());
  TRY_VOID(file_.apply(kGetMsrIndexList, array.data(), "list of MSRs"));
  kept_msrs_.assign(array.elements(), array.elements() + array.count());
  return {};
}

bool KvmDevice::keeps_msr(u32 index) const {
  return std::ranges::find(kept_msrs_, index) != kept_msrs_.end();
}

}  // namespace doppel::kvm
