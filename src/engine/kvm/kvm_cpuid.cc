// From CpuidTable to KVM's list of leaves.
#include "engine/kvm/kvm_cpuid.h"

namespace doppel::kvm {
namespace {

constexpr u32 kMaxEntries = 128;

// Leaves with more than one subleaf, and how many of them matter.
struct Subleaves {
  u32 leaf;
  u32 count;
};
constexpr Subleaves kIndexed[] = {{0x4, 5}, {0x7, 2}, {0xb, 3}, {0xd, 3}};

u32 subleaf_count(u32 leaf) {
  for (const Subleaves& row : kIndexed) {
    if (row.leaf == leaf) return row.count;
  }
  return 0;
}

// What this instruction-set feature is called where KVM offers it to no guest: it has no effect but its bit.
constexpr x86::FeatureSet kInformation = {
    x86::Feature::kFdpExceptionOnly,
    x86::Feature::kNoFcsFds,
    x86::Feature::kErms,
    x86::Feature::kFsrm,
};

class LeafList {
 public:
  LeafList(const x86::CpuidTable& table, u32 apic_id) : table_(table), dynamic_{.apic_id = apic_id} {}

  // Leaves `first` to the highest one that `first` itself names.
  void add_range(u32 first) {
    const u32 last = table_.query(first, 0, dynamic_).eax;
    if (last < first || last - first > 0x40) return;
    for (u32 leaf = first; leaf <= last; ++leaf) add_leaf(leaf);
  }
  void* finish() {
    array_.set_count(count_);
    return array_.data();
  }

 private:
  void add_leaf(u32 leaf) {
    const u32 subleaves = subleaf_count(leaf);
    for (u32 i = 0; i < (subleaves == 0 ? 1 : subleaves) && count_ < kMaxEntries; ++i) {
      const x86::CpuidResult result = table_.query(leaf, i, dynamic_);
      array_.elements()[count_++] = {.function = leaf,
                                     .index = i,
                                     .flags = subleaves == 0 ? 0u : u32{KVM_CPUID_FLAG_SIGNIFCANT_INDEX},
                                     .eax = result.eax,
                                     .ebx = result.ebx,
                                     .ecx = result.ecx,
                                     .edx = result.edx,
                                     .padding = {}};
    }
  }

  const x86::CpuidTable& table_;
  x86::CpuidDynamic dynamic_;
  CpuidArray array_{kMaxEntries};
  u32 count_ = 0;
};

}  // namespace

x86::FeatureSet missing_features(const KvmDevice& device) {
  x86::FeatureSet missing;
  for (unsigned i = 0; i < x86::kFeatureCount; ++i) {
    const auto feature = static_cast<x86::Feature>(i);
    if (!device.features().has(feature) && !kInformation.has(feature)) missing.add(feature);
  }
  return missing;
}

u32 hypercall_features() { return x86::kKvmPvSendIpi | x86::kKvmPvUnhalt | x86::kKvmPvSchedYield; }

Result<void> check_cpuid(const KvmDevice& device, const x86::CpuidTable& table) {
  const x86::FeatureSet missing = missing_features(device);
  std::string names;
  for (unsigned i = 0; i < x86::kFeatureCount; ++i) {
    const auto feature = static_cast<x86::Feature>(i);
    if (!missing.has(feature) || !table.has(feature)) continue;
    names += fmt::format(" {}", x86::feature_info(feature).name);
  }
  if (!names.empty()) {
    return fail("engine kvm: the machine's CPU has what this host's KVM does not offer:{}", names);
  }
  if ((table.query(0x40000001, 0, {}).eax & hypercall_features()) != 0) {
    return fail("engine kvm: the machine offers hypercalls; make it with --engine kvm or --switch-every");
  }
  return {};
}

Result<void> load_cpuid(const KvmFile& vcpu, const x86::CpuidTable& table, u32 apic_id) {
  LeafList list(table, apic_id);
  for (const u32 first : {0u, 0x40000000u, 0x80000000u}) list.add_range(first);
  TRY_VOID(vcpu.apply(kSetCpuid2, list.finish(), "CPUID"));
  return {};
}

}  // namespace doppel::kvm
