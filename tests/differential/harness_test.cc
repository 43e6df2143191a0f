// The differential harness against itself: the host agrees with the host, and damage is found.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "tests/differential/campaign.h"
#include "tests/differential/coverage.h"
#include "tests/differential/engines.h"
#include "tests/differential/layout.h"
#include "tests/differential/native_backend.h"

namespace doppel::differential {
namespace {

std::vector<Form> forms_named(const char* pattern, bool is_compat) {
  const Decoder decoder(is_compat);
  std::vector<Form> forms = enumerate_forms(decoder);
  const std::regex regex(pattern);
  std::erase_if(forms, [&](const Form& form) { return !std::regex_search(form.name, regex); });
  return forms;
}

CampaignOptions options_for(std::string engine) {
  CampaignOptions options;
  options.engine = engine;
  options.cases = 64;
  options.details = 0;
  options.create_engine = [engine](Backend& native) { return create_backend(engine, native); };
  return options;
}

u64 mismatches(const char* pattern, const char* engine, bool is_compat) {
  const auto result = run_campaign(forms_named(pattern, is_compat), is_compat, options_for(engine));
  EXPECT_TRUE(result.has_value());
  u64 total = 0;
  for (const FormResult& form : result->forms) total += form.mismatches + form.crashed;
  return total;
}

u64 cases(const char* pattern, bool is_compat) {
  const auto result = run_campaign(forms_named(pattern, is_compat), is_compat, options_for("native"));
  EXPECT_TRUE(result.has_value());
  u64 total = 0;
  for (const FormResult& form : result->forms) total += form.cases;
  return total;
}

std::set<std::string> mnemonics(bool is_compat) {
  std::set<std::string> names;
  for (const Form& form : enumerate_forms(Decoder(is_compat)))
    names.insert(ZydisMnemonicGetString(form.mnemonic));
  return names;
}

// Runs `bytes` natively in a child and exits with what `check` says.
template <class Check>
[[noreturn]] void run_native(std::vector<u8> bytes, UserState in, Check check) {
  auto native = NativeBackend::create();
  if (!native) _exit(2);
  Placement placement;
  std::ranges::copy(bytes, placement.bytes.begin());
  placement.length = static_cast<u8>(bytes.size());
  placement.address = kCodeBase + 0x800;
  (*native)->place(placement);
  in.rip = placement.address;
  const std::vector<u8> memory(kDataSize);
  Outcome out;
  (*native)->run(in, memory, out);
  _exit(check(out) ? 0 : 1);
}

TEST(DifferentialHarness, HostAgreesWithItself) {
  EXPECT_EQ(mismatches("^(add|imul|vaddps|fadd|pshufb|rep movs|cmpxchg|call|ret) ", "native", false), 0u);
}

TEST(DifferentialHarness, HostAgreesWithItselfIn32BitCode) {
  EXPECT_EQ(mismatches("^(add|aaa|daa|vaddps|fadd|push|call|ret|into|bound)", "native", true), 0u);
}

TEST(DifferentialHarness, EveryChosenFormRuns) { EXPECT_EQ(cases("^vpgatherdd ymm", false), 64u); }

TEST(DifferentialHarness, WrongFlagIsFound) { EXPECT_GT(mismatches("^cmp r8,m8", "broken", false), 0u); }
TEST(DifferentialHarness, WrongVectorHalfIsFound) {
  EXPECT_GT(mismatches("^vaddps ymm", "broken", false), 0u);
}
TEST(DifferentialHarness, WrongX87StatusIsFound) { EXPECT_GT(mismatches("^fstp m32 ", "broken", false), 0u); }
TEST(DifferentialHarness, WrongMemoryIsFound) { EXPECT_GT(mismatches("^ret \\[", "broken", false), 0u); }

TEST(DifferentialHarness, EveryRequiredExtensionHasForms) {
  const std::set<std::string> all = mnemonics(false);
  for (const char* name : {"aesenc",   "pclmulqdq", "sha256rnds2", "vcvtph2ps",  "vfmadd213pd", "vpgatherdq",
                           "andn",     "pdep",      "adox",        "movbe",      "crc32",       "popcnt",
                           "wrfsbase", "fsincos",   "pmaddwd",     "maskmovdqu", "pcmpistri",   "cmpxchg16b",
                           "xadd",     "enter",     "leave",       "loopne",     "jrcxz",       "xlat",
                           "lahf",     "fxsave64",  "xrstor",      "rdtscp",     "endbr64"}) {
    EXPECT_TRUE(all.contains(name)) << name;
  }
}

TEST(DifferentialHarness, EveryRequired32BitInstructionHasForms) {
  const std::set<std::string> all = mnemonics(true);
  for (const char* name : {"aaa", "aad", "aam", "aas", "daa", "das", "arpl", "bound", "into", "pushad",
                           "popad", "salc", "jecxz"}) {
    EXPECT_TRUE(all.contains(name)) << name;
  }
}

TEST(NativeBackend, AddSetsResultAndFlags) {
  UserState in;
  in.gpr[0] = ~u64{0};
  in.gpr[1] = 1;
  EXPECT_EXIT(run_native({0x48, 0x01, 0xc8}, in,
                         [](const Outcome& out) {
                           return out.vector == Outcome::kNoFault && out.state.gpr[0] == 0 &&
                                  (out.state.rflags & 0x41) == 0x41 && out.state.rip == kCodeBase + 0x803;
                         }),
              testing::ExitedWithCode(0), "");
}

TEST(NativeBackend, DivisionByZeroIsVector0AtTheInstruction) {
  EXPECT_EXIT(
      run_native({0xf7, 0xf1}, UserState(),
                 [](const Outcome& out) { return out.vector == 0 && out.state.rip == kCodeBase + 0x800; }),
      testing::ExitedWithCode(0), "");
}

TEST(NativeBackend, UnmappedLoadIsPageFaultWithAddress) {
  UserState in;
  in.gpr[1] = 0x12345678;
  EXPECT_EXIT(run_native({0x8b, 0x01}, in,
                         [](const Outcome& out) {
                           return out.vector == 14 && out.cr2 == 0x12345678 && out.error_code == 4;
                         }),
              testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace doppel::differential
