// CPUID leaf by leaf. SDM 2A CPUID; AMD APM 3 appendix E for the extended leaves.
#include "x86/cpuid.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "x86/cpuid_template.h"
#include "x86/registers.h"

namespace doppel::x86 {
namespace {

constexpr u32 kMaxExtendedLeaf = 0x80000008;
constexpr u32 kFirstExtendedLeaf = 0x80000000;
constexpr u32 kFirstHypervisorLeaf = 0x40000000;
constexpr u32 kLastHypervisorLeaf = 0x400000ff;
constexpr u32 kMaxKvmLeaf = 0x40000010;
constexpr u32 kMaxBasicLeaf = 0x16;
constexpr u32 kMaxCpuCount = 254;  // xAPIC identifiers; 255 is broadcast

constexpr u32 kLineSize = 64;

// IA32_ARCH_CAPABILITIES. SDM 4 table 2-2.
constexpr u64 kImmuneToAll = u64{1} << 0      // RDCL_NO: Meltdown
                             | u64{1} << 1    // IBRS_ALL: enhanced IBRS instead of retpolines
                             | u64{1} << 3    // SKIP_L1DFL_VMENTRY
                             | u64{1} << 4    // SSB_NO
                             | u64{1} << 5    // MDS_NO
                             | u64{1} << 6    // PSCHANGE_MC_NO
                             | u64{1} << 8    // TAA_NO
                             | u64{1} << 13   // SBDR_SSDP_NO
                             | u64{1} << 14   // FBSDP_NO
                             | u64{1} << 15   // PSDP_NO
                             | u64{1} << 20   // BHI_NO
                             | u64{1} << 24   // PBRSB_NO
                             | u64{1} << 26   // GDS_NO
                             | u64{1} << 27   // RFDS_NO
                             | u64{1} << 62;  // ITS_NO

// Deterministic cache parameters, leaf 4. Type: 1 data, 2 instruction, 3 unified.
struct CacheRow {
  u8 type;
  u8 level;
  u16 ways;
  u32 sets;
  bool is_shared;  // by all cores
};

constexpr CacheRow kCaches[] = {
    {1, 1, 8, 64, false},     // 32 KiB
    {2, 1, 8, 64, false},     // 32 KiB
    {3, 2, 16, 1024, false},  // 1 MiB
    {3, 3, 16, 16384, true},  // 16 MiB
};

// XSAVE area. SDM 1 13.4.
constexpr u32 kXsaveLegacySize = 576;
constexpr u32 kXsaveAvxSize = 256;

u32 word(std::string_view text, size_t offset) {
  u32 value = 0;
  if (offset < text.size())
    std::memcpy(&value, text.data() + offset, std::min<size_t>(4, text.size() - offset));
  return value;
}

u32& register_of(CpuidResult& result, CpuidRegister reg) {
  switch (reg) {
    case CpuidRegister::kEax:
      return result.eax;
    case CpuidRegister::kEbx:
      return result.ebx;
    case CpuidRegister::kEcx:
      return result.ecx;
    case CpuidRegister::kEdx:
      break;
  }
  return result.edx;
}

u32 xsave_size(u64 components) {
  return kXsaveLegacySize + ((components & kXcr0Avx) != 0 ? kXsaveAvxSize : 0);
}

u32 megahertz(u64 hertz) { return static_cast<u32>(std::min<u64>(hertz / 1'000'000, 0xffff)); }

Result<void> check(const CpuidConfig& config) {
  if (config.cpu_count == 0 || config.cpu_count > kMaxCpuCount) {
    return fail_usage("a machine has 1 to {} processors, not {}", kMaxCpuCount, config.cpu_count);
  }
  if (config.physical_address_bits < 36 || config.physical_address_bits > 52) {
    return fail_usage("physical addresses have 36 to 52 bits, not {}", config.physical_address_bits);
  }
  if (config.tsc_hz / 1000 == 0 || config.tsc_hz / 1000 > 0xffffffff || config.apic_timer_hz / 1000 == 0 ||
      config.apic_timer_hz > 0xffffffff) {
    return fail("CPUID cannot report a TSC of {} Hz and an APIC timer of {} Hz", config.tsc_hz,
                config.apic_timer_hz);
  }
  return {};
}

// A template's name and what is to be added to and taken from it: "host,+la57,-avx2".
struct TemplateRequest {
  std::string_view name;
  FeatureSet added;
  FeatureSet removed;
};

Result<TemplateRequest> parse_request(std::string_view text) {
  TemplateRequest request;
  size_t end = text.find(',');
  request.name = text.substr(0, end);
  while (end != std::string_view::npos) {
    text.remove_prefix(end + 1);
    end = text.find(',');
    const std::string_view item = text.substr(0, end);
    const auto feature = item.empty() ? std::nullopt : feature_by_name(item.substr(1));
    const bool is_valid = feature && (item.front() == '+' || item.front() == '-');
    if (!is_valid) {
      return fail_usage("'{}' is no change to a CPU template; write +name or -name, as in /proc/cpuinfo",
                        item);
    }
    (item.front() == '+' ? request.added : request.removed).add(*feature);
  }
  return request;
}

}  // namespace

std::vector<std::string_view> CpuidTable::template_names() { return cpu_template_names(); }

Result<CpuidTable> CpuidTable::create(std::string_view template_name, const CpuidConfig& config) {
  return create(template_name, config, host_features());
}

Result<CpuidTable> CpuidTable::create(std::string_view template_name, const CpuidConfig& config,
                                      const FeatureSet& host) {
  TRY_VOID(check(config));
  const TemplateRequest request = TRY(parse_request(template_name));
  const auto model = cpu_template(request.name);
  if (!model) {
    return fail_usage("unknown CPU template '{}'; choose one of {}", request.name,
                      fmt::join(cpu_template_names(), ", "));
  }
  CpuidTable table;
  table.config_ = config;
  table.vendor_ = model->vendor;
  table.is_amd_ = table.vendor_ == "AuthenticAMD" || table.vendor_ == "HygonGenuine";
  table.brand_ = model->brand;
  table.signature_ = model->signature;
  table.max_basic_leaf_ = kMaxBasicLeaf;
  table.features_ = model->features;
  table.features_.add(request.added);
  table.features_.intersect(supported_features(host));
  if (config.la57) table.features_.add(Feature::kLa57);
  if (config.cpu_count > 1) table.features_.add(Feature::kHtt);
  table.features_.remove(request.removed);
  table.features_.remove(config.removed);
  remove_dependents(table.features_);
  return table;
}

u64 CpuidTable::supported_xcr0() const {
  if (!has(Feature::kXsave)) return 0;
  return kXcr0X87 | kXcr0Sse | (has(Feature::kAvx) ? kXcr0Avx : 0);
}

u64 CpuidTable::arch_capabilities() const { return has(Feature::kArchCapabilities) ? kImmuneToAll : 0; }

// Bits of the APIC identifier that number the cores of the one package.
u32 CpuidTable::core_bits() const { return static_cast<u32>(std::bit_width(config_.cpu_count - 1)); }

CpuidResult CpuidTable::query(u32 leaf, u32 subleaf, const CpuidDynamic& dynamic) const {
  if (leaf >= kFirstHypervisorLeaf && leaf <= kLastHypervisorLeaf && config_.offers_kvm)
    return hypervisor_leaf(leaf);
  if (leaf >= kFirstExtendedLeaf && leaf <= kMaxExtendedLeaf) return extended_leaf(leaf);
  if (leaf <= max_basic_leaf_) return basic_leaf(leaf, subleaf, dynamic);
  // Intel answers for the highest basic leaf, AMD with zeros. SDM 2A CPUID, "input EAX exceeds the maximum".
  if (vendor_ == "GenuineIntel") return basic_leaf(max_basic_leaf_, subleaf, dynamic);
  return {};
}

CpuidResult CpuidTable::feature_bits(u32 leaf, u32 subleaf) const {
  CpuidResult result;
  for (unsigned i = 0; i < kFeatureCount; ++i) {
    const auto feature = static_cast<Feature>(i);
    const FeatureInfo& info = feature_info(feature);
    if (info.leaf != leaf || info.subleaf != subleaf || !has(feature)) continue;
    register_of(result, info.reg) |= 1u << info.bit;
  }
  return result;
}

CpuidResult CpuidTable::basic_leaf(u32 leaf, u32 subleaf, const CpuidDynamic& dynamic) const {
  switch (leaf) {
    case 0x0:
      return {max_basic_leaf_, word(vendor_, 0), word(vendor_, 8), word(vendor_, 4)};
    case 0x1:
      return version_leaf(dynamic);
    case 0x2:
      return {0x00feff01, 0, 0, 0};  // "see leaf 4"
    case 0x4:
      return cache_leaf(subleaf);
    case 0x5:
      return has(Feature::kMonitor) ? CpuidResult{kLineSize, kLineSize, 3, 0} : CpuidResult{};
    case 0x6:
      return {1u << 2, 0, 0, 0};  // ARAT: the APIC timer never stops
    case 0x7: {
      CpuidResult result = feature_bits(7, subleaf);
      if (subleaf == 0) result.eax = 1;  // highest subleaf
      return result;
    }
    case 0xb:
      return topology_leaf(subleaf, dynamic.apic_id);
    case 0xd:
      return xsave_leaf(subleaf, dynamic.xcr0);
    case 0x15:
      return clock_leaf();
    case 0x16:
      return frequency_leaf();
    default:
      return {};
  }
}

CpuidResult CpuidTable::version_leaf(const CpuidDynamic& dynamic) const {
  CpuidResult result = feature_bits(1, 0);
  result.eax = signature_;
  result.ebx = (dynamic.apic_id & 0xff) << 24 | (1u << core_bits() & 0xff) << 16 | kLineSize / 8 << 8;
  constexpr u32 kOsxsave = 1u << 27;
  if (has(Feature::kXsave) && (dynamic.cr4 & kCr4Osxsave) != 0) result.ecx |= kOsxsave;
  if (!dynamic.is_apic_enabled) result.edx &= ~(1u << feature_info(Feature::kApic).bit);
  return result;
}

CpuidResult CpuidTable::cache_leaf(u32 subleaf) const {
  if (subleaf >= std::size(kCaches)) return {};
  const CacheRow& row = kCaches[subleaf];
  const u32 last_core = (1u << core_bits()) - 1;
  const u32 sharing = row.is_shared ? last_core : 0;
  constexpr u32 kSelfInitializing = 1u << 8;
  CpuidResult result;
  result.eax =
      std::min(last_core, 63u) << 26 | sharing << 14 | kSelfInitializing | u32{row.level} << 5 | row.type;
  result.ebx = (row.ways - 1u) << 22 | (kLineSize - 1);
  result.ecx = row.sets - 1;
  return result;
}

// One package, its cores, one thread each.
CpuidResult CpuidTable::topology_leaf(u32 subleaf, u32 apic_id) const {
  constexpr u32 kThreadLevel = 1u << 8;
  constexpr u32 kCoreLevel = 2u << 8;
  switch (subleaf) {
    case 0:
      return {0, 1, kThreadLevel, apic_id};
    case 1:
      return {core_bits(), config_.cpu_count, 1 | kCoreLevel, apic_id};
    default:
      return {0, 0, subleaf & 0xff, apic_id};
  }
}

CpuidResult CpuidTable::xsave_leaf(u32 subleaf, u64 xcr0) const {
  if (!has(Feature::kXsave)) return {};
  switch (subleaf) {
    case 0:
      return {static_cast<u32>(supported_xcr0()), xsave_size(xcr0), xsave_size(supported_xcr0()), 0};
    case 1: {
      CpuidResult result = feature_bits(0xd, 1);
      if (has(Feature::kXsavec)) result.ebx = xsave_size(xcr0);
      return result;
    }
    case 2:
      return has(Feature::kAvx) ? CpuidResult{kXsaveAvxSize, kXsaveLegacySize, 0, 0} : CpuidResult{};
    default:
      return {};
  }
}

// TSC rate = crystal (ECX) * EBX / EAX; the crystal also feeds the APIC timer. SDM 3B 18.7.3.
// The ratio in its lowest terms: Linux multiplies crystal kilohertz by the numerator in 32 bits.
CpuidResult CpuidTable::clock_leaf() const {
  const u64 divisor = std::gcd(config_.apic_timer_hz, config_.tsc_hz);
  return {static_cast<u32>(config_.apic_timer_hz / divisor), static_cast<u32>(config_.tsc_hz / divisor),
          static_cast<u32>(config_.apic_timer_hz), 0};
}

CpuidResult CpuidTable::frequency_leaf() const {
  const u32 rate = megahertz(config_.tsc_hz);
  return {rate, rate, 100, 0};
}

CpuidResult CpuidTable::extended_leaf(u32 leaf) const {
  switch (leaf) {
    case 0x80000000:
      return {kMaxExtendedLeaf, word(vendor_, 0), word(vendor_, 8), word(vendor_, 4)};
    case 0x80000001: {
      CpuidResult result = feature_bits(leaf, 0);
      if (vendor_ != "GenuineIntel") result.eax = signature_;
      return result;
    }
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
      return brand_leaf(leaf - 0x80000002);
    case 0x80000006:
      return {0, 0, 1024u << 16 | 8u << 12 | kLineSize, 0};  // L2: 1 MiB, 16 ways
    case 0x80000008:
      return address_leaf();
    default:
      return feature_bits(leaf, 0);
  }
}

CpuidResult CpuidTable::brand_leaf(u32 index) const {
  const size_t start = index * sizeof(CpuidResult);
  return {word(brand_, start), word(brand_, start + 4), word(brand_, start + 8), word(brand_, start + 12)};
}

// ECX: number of cores, on AMD only.
CpuidResult CpuidTable::address_leaf() const {
  CpuidResult result;
  result.eax = linear_address_bits() << 8 | config_.physical_address_bits;
  if (vendor_ != "GenuineIntel") result.ecx = core_bits() << 12 | (config_.cpu_count - 1);
  return result;
}

CpuidResult CpuidTable::hypervisor_leaf(u32 leaf) const {
  static constexpr std::string_view kSignature("KVMKVMKVM\0\0\0", 12);
  switch (leaf) {
    case 0x40000000:
      return {kMaxKvmLeaf, word(kSignature, 0), word(kSignature, 4), word(kSignature, 8)};
    case 0x40000001:
      return {config_.kvm_features, 0, 0, 0};
    case 0x40000010:
      return {static_cast<u32>(config_.tsc_hz / 1000), static_cast<u32>(config_.apic_timer_hz / 1000), 0, 0};
    default:
      return {};
  }
}

}  // namespace doppel::x86
