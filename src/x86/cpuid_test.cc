// CPUID templates and leaves.
#include "x86/cpuid.h"

#include <gtest/gtest.h>

#include "x86/registers.h"

namespace doppel::x86 {
namespace {

using enum Feature;

FeatureSet all_features() {
  FeatureSet result;
  for (unsigned i = 0; i < kFeatureCount; ++i) result.add(static_cast<Feature>(i));
  return result;
}

CpuidTable make(std::string_view name, const CpuidConfig& config = {},
                const FeatureSet& host = all_features()) {
  return *CpuidTable::create(name, config, host);
}

TEST(CpuidTable, UnknownTemplateIsAUsageError) {
  const auto table = CpuidTable::create("pentium", {});
  ASSERT_FALSE(table.has_value());
  EXPECT_TRUE(table.error().is_usage);
}

TEST(CpuidTable, RefusesImpossibleProcessorCounts) {
  EXPECT_FALSE(CpuidTable::create("host", {.cpu_count = 0}).has_value());
  EXPECT_FALSE(CpuidTable::create("host", {.cpu_count = 255}).has_value());
}

TEST(CpuidTable, VendorStringIsInEbxEdxEcx) {
  const CpuidResult leaf = make("x86-64-v3").query(0, 0, {});
  EXPECT_EQ(leaf, (CpuidResult{0x16, 0x756e6547, 0x6c65746e, 0x49656e69}));
}

TEST(CpuidTable, LevelsHaveTheSignatureOfAnInOrderProcessor) {
  const CpuidTable table = make("x86-64-v2");
  EXPECT_EQ(table.query(1, 0, {}).eax, 0x00030661u);
  EXPECT_EQ(table.signature(), 0x00030661u);
  EXPECT_EQ(table.arch_capabilities(), 0u);
}

TEST(CpuidTable, Level2HasSse42ButNoAvx) {
  const CpuidTable table = make("x86-64-v2");
  EXPECT_TRUE(table.has(kSse42));
  EXPECT_TRUE(table.has(kPopcnt));
  EXPECT_FALSE(table.has(kAvx));
  EXPECT_FALSE(table.has(kXsave));
  EXPECT_EQ(table.supported_xcr0(), 0u);
  EXPECT_EQ(table.query(0xd, 0, {}), CpuidResult{});
}

TEST(CpuidTable, Level3HasItsVectorsAndNotMore) {
  const CpuidTable table = make("x86-64-v3");
  EXPECT_TRUE(table.has(kAvx2));
  EXPECT_TRUE(table.has(kFma));
  EXPECT_TRUE(table.has(kBmi2));
  EXPECT_TRUE(table.has(kMovbe));
  EXPECT_FALSE(table.has(kSha));
  EXPECT_FALSE(table.has(kVaes));
  EXPECT_EQ(table.supported_xcr0(), kXcr0X87 | kXcr0Sse | kXcr0Avx);
}

TEST(CpuidTable, MasksWhatTheHostLacksWithItsDependents) {
  FeatureSet host = all_features();
  host.remove(kAvx);
  const CpuidTable table = make("x86-64-v3", {}, host);
  EXPECT_FALSE(table.has(kAvx));
  EXPECT_FALSE(table.has(kAvx2));
  EXPECT_FALSE(table.has(kFma));
  EXPECT_TRUE(table.has(kBmi2));
  EXPECT_TRUE(table.has(kXsave));
  EXPECT_EQ(table.supported_xcr0(), kXcr0X87 | kXcr0Sse);
}

TEST(CpuidTable, EmulatedFeaturesNeedNothingFromTheHost) {
  const CpuidTable table = make("x86-64-v2", {}, {});
  EXPECT_TRUE(table.has(kPcid));
  EXPECT_TRUE(table.has(kSmap));
  EXPECT_TRUE(table.has(kCx16));
  EXPECT_FALSE(table.has(kSse42));
}

TEST(CpuidTable, ConfigRemovesFeatures) {
  const CpuidTable table = make("x86-64-v3", {.removed = {kX2Apic, kXsave}});
  EXPECT_FALSE(table.has(kX2Apic));
  EXPECT_FALSE(table.has(kAvx2));
}

TEST(CpuidTable, NeverOffersWhatEnginesDoNotRun) {
  const CpuidTable table = make("host");
  const CpuidResult leaf7 = table.query(7, 0, {});
  EXPECT_EQ(leaf7.ebx & (1u << 4 | 1u << 11 | 1u << 14 | 1u << 16 | 1u << 2),
            0u);                                                   // HLE, RTM, MPX, AVX512F, SGX
  EXPECT_EQ(leaf7.ecx & (1u << 3 | 1u << 7 | 1u << 16), 0u);       // PKU, CET, LA57
  EXPECT_EQ(table.query(1, 0, {}).ecx & (1u << 5 | 1u << 3), 0u);  // VMX, MONITOR
  EXPECT_EQ(table.query(0xa, 0, {}), CpuidResult{});
}

TEST(CpuidTable, ChangesFollowTheTemplateName) {
  const CpuidTable table = make("x86-64-v3,+la57,-avx");
  EXPECT_TRUE(table.has(kLa57));
  EXPECT_FALSE(table.has(kAvx));
  EXPECT_FALSE(table.has(kAvx2));
}

TEST(CpuidTable, AddedFeaturesNeedTheHost) {
  EXPECT_FALSE(make("x86-64-v2,+sha_ni", {}, FeatureSet{}).has(kSha));
  EXPECT_TRUE(make("x86-64-v2,+sha_ni").has(kSha));
}

TEST(CpuidTable, UnknownChangesAreUsageErrors) {
  for (const char* name : {"host,", "host,la57", "host,+", "host,+nonsense", "host,+la57,,-avx"}) {
    const auto table = CpuidTable::create(name, {});
    ASSERT_FALSE(table.has_value()) << name;
    EXPECT_TRUE(table.error().is_usage) << name;
  }
}

TEST(CpuidTable, HidesAnApicThatIsOff) {
  const CpuidTable table = make("x86-64-v3");
  EXPECT_NE(table.query(1, 0, {.is_apic_enabled = true}).edx & 1u << 9, 0u);
  EXPECT_EQ(table.query(1, 0, {.is_apic_enabled = false}).edx & 1u << 9, 0u);
}

TEST(CpuidTable, La57IsOfferedWhenAsked) {
  const CpuidTable table = make("x86-64-v3", {.physical_address_bits = 40, .la57 = true});
  EXPECT_EQ(table.query(0x80000008, 0, {}).eax, 0x3928u);
  EXPECT_NE(table.query(7, 0, {}).ecx & 1u << 16, 0u);
}

TEST(CpuidTable, OsxsaveFollowsCr4) {
  const CpuidTable table = make("x86-64-v3");
  EXPECT_EQ(table.query(1, 0, {.cr4 = 0}).ecx & 1u << 27, 0u);
  EXPECT_NE(table.query(1, 0, {.cr4 = kCr4Osxsave}).ecx & 1u << 27, 0u);
}

TEST(CpuidTable, XsaveSizeFollowsXcr0) {
  const CpuidTable table = make("x86-64-v3");
  EXPECT_EQ(table.query(0xd, 0, {.xcr0 = 1}), (CpuidResult{7, 576, 832, 0}));
  EXPECT_EQ(table.query(0xd, 0, {.xcr0 = 7}), (CpuidResult{7, 832, 832, 0}));
  EXPECT_EQ(table.query(0xd, 1, {.xcr0 = 7}), (CpuidResult{7, 832, 0, 0}));
  EXPECT_EQ(table.query(0xd, 2, {}), (CpuidResult{256, 576, 0, 0}));
  EXPECT_EQ(table.query(0xd, 3, {}), CpuidResult{});
}

TEST(CpuidTable, TopologyIsOnePackageOfSingleThreadedCores) {
  const CpuidTable table = make("x86-64-v3", {.cpu_count = 3});
  EXPECT_EQ(table.query(0xb, 0, {.apic_id = 2}), (CpuidResult{0, 1, 0x100, 2}));
  EXPECT_EQ(table.query(0xb, 1, {.apic_id = 2}), (CpuidResult{2, 3, 0x201, 2}));
  EXPECT_EQ(table.query(0xb, 2, {.apic_id = 2}), (CpuidResult{0, 0, 2, 2}));
  EXPECT_EQ(table.query(1, 0, {.apic_id = 2}).ebx, 0x02040800u);
  EXPECT_TRUE(table.has(kHtt));
  EXPECT_FALSE(make("x86-64-v3").has(kHtt));
}

TEST(CpuidTable, LastLevelCacheIsSharedByAllCores) {
  const CpuidTable table = make("x86-64-v3", {.cpu_count = 4});
  EXPECT_EQ(table.query(4, 0, {}).eax, 0x0c000121u);
  EXPECT_EQ(table.query(4, 3, {}).eax, 0x0c00c163u);
  EXPECT_EQ(table.query(4, 3, {}).ebx, 0x03c0003fu);
  EXPECT_EQ(table.query(4, 4, {}), CpuidResult{});
}

TEST(CpuidTable, ReportsTheClocks) {
  const CpuidTable table = make("x86-64-v3", {.tsc_hz = 2'400'000'000, .apic_timer_hz = 1'000'000'000});
  EXPECT_EQ(table.query(0x15, 0, {}), (CpuidResult{5, 12, 1'000'000'000, 0}));
  EXPECT_EQ(table.query(0x16, 0, {}), (CpuidResult{2400, 2400, 100, 0}));
  EXPECT_EQ(table.query(0x40000010, 0, {}), (CpuidResult{2'400'000, 1'000'000, 0, 0}));
}

TEST(CpuidTable, KvmLeavesShowTheConfiguredFeatures) {
  const CpuidTable table = make("x86-64-v3", {.kvm_features = kKvmClocksource2 | kKvmClocksourceStable});
  EXPECT_EQ(table.query(0x40000000, 0, {}), (CpuidResult{0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d}));
  EXPECT_EQ(table.query(0x40000001, 0, {}).eax, 0x01000008u);
}

TEST(CpuidTable, WithoutKvmTheHypervisorLeavesAreOutOfRange) {
  const CpuidTable table = make("x86-64-v3", {.offers_kvm = false});
  EXPECT_EQ(table.query(0x40000000, 0, {}), table.query(0x16, 0, {}));
}

TEST(CpuidTable, OutOfRangeLeavesAnswerAsTheHighestBasicLeaf) {
  const CpuidTable table = make("x86-64-v3");
  EXPECT_EQ(table.query(0x17, 0, {}), table.query(0x16, 0, {}));
  EXPECT_EQ(table.query(0x80000009, 0, {}), table.query(0x16, 0, {}));
}

TEST(CpuidTable, BrandStringIsReadable) {
  const CpuidResult first = make("x86-64-v3").query(0x80000002, 0, {});
  EXPECT_EQ(first.eax, 0x70706f64u);  // "dopp"
}

TEST(CpuidTable, HostArchCapabilitiesDenyMeltdown) {
  const auto table = CpuidTable::create("host", {});
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ((table->arch_capabilities() & 1) != 0, table->has(kArchCapabilities));
}

TEST(Features, NamesFindTheirRows) {
  EXPECT_EQ(feature_by_name("avx2"), kAvx2);
  EXPECT_EQ(feature_by_name("avx512f"), std::nullopt);
  EXPECT_EQ(feature_info(kAvx2).bit, 5u);
}

}  // namespace
}  // namespace doppel::x86
