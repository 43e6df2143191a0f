// Every row of the interpreter's semantic table has a test: in this corpus or in the differential test.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "engine/interp/semantic.h"
#include "tests/differential/form.h"

namespace doppel {
namespace {

using Names = std::set<std::string>;

// The differential test runs at user level: these do nothing there but fault.
const Names kPrivileged = {
    "CLAC",  "CLI",   "CLTS", "HLT",  "IN",  "INSB",    "INSD",    "INSW",   "INVD",   "INVLPG", "INVPCID",
    "LGDT",  "LIDT",  "LLDT", "LMSW", "LTR", "MONITOR", "MWAIT",   "OUT",    "OUTSB",  "OUTSD",  "OUTSW",
    "RDMSR", "RDPMC", "STAC", "STI",  "STR", "SWAPGS",  "SYSEXIT", "SYSRET", "WBINVD", "WRMSR",  "XSETBV",
};

// As the differential test says it of a form whose CPUID bit the host lacks.
constexpr std::string_view kNotOnThisHost = "this host does not have it";

std::string upper(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return text;
}

std::string name_of(ZydisMnemonic mnemonic) { return upper(ZydisMnemonicGetString(mnemonic)); }

// A "covers" name with what follows its point left out: IRET.long is IRET.
void insert_names(const std::string& list, Names& names) {
  size_t start = 0;
  while (start < list.size()) {
    const size_t end = std::min(list.find(',', start), list.size());
    const size_t first = list.find_first_not_of(' ', start);
    const std::string item = list.substr(first, end - first);
    names.insert(item.substr(0, item.find('.')));
    start = end + 1;
  }
}

// The instructions that the "; covers:" lines of the corpus name.
Names bare_names() {
  static constexpr std::string_view kMark = "; covers:";
  Names names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(BARE_CORPUS)) {
    if (entry.path().extension() != ".asm") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(kMark)) insert_names(line.substr(kMark.size()), names);
    }
  }
  return names;
}

// The instructions that the differential test runs, or would run on a host that has them. It runs at user
// level, where privileged ones do nothing but fault.
void insert_differential_names(bool is_compat, Names& names) {
  const differential::Decoder decoder(is_compat);
  for (const differential::Form& form : differential::enumerate_forms(decoder)) {
    const std::string_view reason = form.skip == nullptr ? "" : form.skip;
    if (reason.empty() || reason == kNotOnThisHost) names.insert(name_of(form.mnemonic));
  }
}

Names differential_names() {
  Names names;
  insert_differential_names(false, names);
  insert_differential_names(true, names);
  std::erase_if(names, [](const std::string& name) { return kPrivileged.contains(name); });
  return names;
}

Names row_names() {
  Names names;
  for (unsigned i = 0; i <= ZYDIS_MNEMONIC_MAX_VALUE; ++i) {
    const auto mnemonic = static_cast<ZydisMnemonic>(i);
    if (interp::find_semantic(mnemonic) != nullptr) names.insert(name_of(mnemonic));
  }
  return names;
}

TEST(InstructionRows, EachHasATest) {
  const Names bare = bare_names();
  const Names differential = differential_names();
  Names untested;
  for (const std::string& name : row_names()) {
    if (!bare.contains(name) && !differential.contains(name)) untested.insert(name);
  }
  EXPECT_EQ(untested, Names{});
}

TEST(InstructionRows, SourcesOfNamesAreNotEmpty) {
  EXPECT_TRUE(row_names().contains("CPUID"));
  EXPECT_TRUE(bare_names().contains("LGDT"));
  EXPECT_TRUE(differential_names().contains("POPCNT"));
  EXPECT_FALSE(differential_names().contains("HLT"));
}

}  // namespace
}  // namespace doppel
