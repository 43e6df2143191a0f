// CpuidTable: what CPUID answers on a machine, made from a named template.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "x86/features.h"

namespace doppel::x86 {

// Bits of CPUID.40000001H:EAX, the paravirtual features of the KVM interface (kernel:
// virt/kvm/x86/cpuid.rst).
inline constexpr u32 kKvmClocksource = 1u << 0;
inline constexpr u32 kKvmNopIoDelay = 1u << 1;
inline constexpr u32 kKvmClocksource2 = 1u << 3;
inline constexpr u32 kKvmAsyncPageFault = 1u << 4;
inline constexpr u32 kKvmStealTime = 1u << 5;
inline constexpr u32 kKvmPvEoi = 1u << 6;
inline constexpr u32 kKvmPvUnhalt = 1u << 7;
inline constexpr u32 kKvmPvTlbFlush = 1u << 9;  // Linux uses it only with kKvmStealTime
inline constexpr u32 kKvmPvSendIpi = 1u << 11;
inline constexpr u32 kKvmPollControl = 1u << 12;
inline constexpr u32 kKvmPvSchedYield = 1u << 13;
inline constexpr u32 kKvmClocksourceStable = 1u << 24;

// What a machine chooses beside the template.
struct CpuidConfig {
  u32 cpu_count = 1;
  u64 tsc_hz = 1'000'000'000;
  u64 apic_timer_hz = 1'000'000'000;  // input clock of the local APIC timer, before its divider
  u32 physical_address_bits = 46;
  bool la57 = false;
  bool offers_kvm = true;   // leaves 40000000H..
  u32 kvm_features = 0;     // kKvm... bits that the machine implements
  FeatureSet removed = {};  // taken out of the template, with everything that depends on them
};

// What CPUID answers from the vCPU that asks.
struct CpuidDynamic {
  u32 apic_id = 0;
  u64 cr4 = 0;
  u64 xcr0 = 1;
  bool is_apic_enabled = true;
};

struct CpuidResult {
  u32 eax = 0;
  u32 ebx = 0;
  u32 ecx = 0;
  u32 edx = 0;
  bool operator==(const CpuidResult&) const = default;
};

// The processor that a machine's guests see. Built once by the machine, then read by all of its vCPU threads.
//
// A template's name can be followed by changes to it: "host,+la57,-avx2", with names as in /proc/cpuinfo.
// What neither the host has nor doppel emulates stays off.
//
// Templates: `host` has the vendor, family and model of the host and every feature that doppel can run there;
// `x86-64-v2` and `x86-64-v3` are the psABI's levels and what doppel emulates, the same on every host that
// has the level. A feature that the host lacks and doppel does not emulate is masked from each of them.
//
// The levels carry the signature of an in-order processor (GenuineIntel 6/36H, Saltwell). Linux lists it as
// not speculating and applies no mitigation at all: no page-table isolation, no retpolines, no buffer
// clearing, no fences after SWAPGS. Nothing of the kind would protect a guest of a software engine, where
// each costs many times its native price. `host` on Intel says the same through IA32_ARCH_CAPABILITIES, with
// enhanced IBRS.
class CpuidTable {
 public:
  static Result<CpuidTable> create(std::string_view template_name, const CpuidConfig& config);
  // For a processor other than the one that runs this process.
  static Result<CpuidTable> create(std::string_view template_name, const CpuidConfig& config,
                                   const FeatureSet& host);

  static std::vector<std::string_view> template_names();

  CpuidResult query(u32 leaf, u32 subleaf, const CpuidDynamic& dynamic) const;
  bool has(Feature feature) const { return features_.has(feature); }
  const FeatureSet& features() const { return features_; }

  // Does the guest see AMD's variant of SYSCALL, SYSENTER and their kin?
  bool is_amd() const { return is_amd_; }
  // CPUID.1:EAX.
  u32 signature() const { return signature_; }
  // Settable bits of XCR0.
  u64 supported_xcr0() const;
  // IA32_ARCH_CAPABILITIES; 0 without the feature.
  u64 arch_capabilities() const;
  u32 physical_address_bits() const { return config_.physical_address_bits; }
  u32 linear_address_bits() const { return has(Feature::kLa57) ? 57 : 48; }

 private:
  CpuidTable() = default;

  CpuidResult basic_leaf(u32 leaf, u32 subleaf, const CpuidDynamic& dynamic) const;
  CpuidResult extended_leaf(u32 leaf) const;
  CpuidResult hypervisor_leaf(u32 leaf) const;
  CpuidResult feature_bits(u32 leaf, u32 subleaf) const;
  CpuidResult version_leaf(const CpuidDynamic& dynamic) const;
  CpuidResult cache_leaf(u32 subleaf) const;
  CpuidResult topology_leaf(u32 subleaf, u32 apic_id) const;
  CpuidResult xsave_leaf(u32 subleaf, u64 xcr0) const;
  CpuidResult clock_leaf() const;
  CpuidResult frequency_leaf() const;
  CpuidResult brand_leaf(u32 index) const;
  CpuidResult address_leaf() const;
  u32 core_bits() const;

  CpuidConfig config_;
  FeatureSet features_;
  std::string vendor_;  // 12 characters
  bool is_amd_ = false;
  std::string brand_;  // at most 47
  u32 signature_ = 0;
  u32 max_basic_leaf_ = 0;
};

}  // namespace doppel::x86
