// Pages with and without sensitive instructions.
#include "engine/direct/code_scan.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "memory/address.h"

namespace doppel::direct {
namespace {

// A page of NOPs with some code in it.
bool is_sensitive(std::initializer_list<u8> code, u64 at = 0x100, u64 entry = 0) {
  std::array<u8, kPageSize> page;
  page.fill(0x90);
  std::copy_n(code.begin(), std::min<u64>(code.size(), kPageSize - at), page.begin() + static_cast<i64>(at));
  return has_sensitive_code({.before = {}, .page = page, .entry = entry});
}

TEST(CodeScanTest, FindsWhatTellsAboutTheHost) {
  EXPECT_TRUE(is_sensitive({0x0f, 0xa2}));                    // cpuid
  EXPECT_TRUE(is_sensitive({0x0f, 0x01, 0xd0}));              // xgetbv
  EXPECT_TRUE(is_sensitive({0xf3, 0x0f, 0xc7, 0xf8}));        // rdpid rax
  EXPECT_TRUE(is_sensitive({0x0f, 0x01, 0x04, 0x24}));        // sgdt [rsp]
  EXPECT_TRUE(is_sensitive({0x0f, 0x00, 0xc0}));              // sldt eax
  EXPECT_TRUE(is_sensitive({0x0f, 0x03, 0xc1}));              // lsl eax, ecx
  EXPECT_TRUE(is_sensitive({0x0f, 0x34}));                    // sysenter
  EXPECT_TRUE(is_sensitive({0x0f, 0xc7, 0x64, 0x24, 0x40}));  // xsavec [rsp + 0x40]
  EXPECT_TRUE(is_sensitive({0x48, 0x0f, 0xae, 0x20}));        // xsave64 [rax]
}

TEST(CodeScanTest, LeavesTheRestAlone) {
  EXPECT_FALSE(is_sensitive({0x0f, 0x05}));                    // syscall: stops
  EXPECT_FALSE(is_sensitive({0x0f, 0x31}));                    // rdtsc: faults
  EXPECT_FALSE(is_sensitive({0x0f, 0x01, 0xf9}));              // rdtscp: faults
  EXPECT_FALSE(is_sensitive({0x0f, 0x01, 0xd6}));              // xtest
  EXPECT_FALSE(is_sensitive({0x0f, 0xae, 0xf0}));              // mfence
  EXPECT_FALSE(is_sensitive({0x0f, 0xc7, 0x0f}));              // cmpxchg8b [rdi]
  EXPECT_FALSE(is_sensitive({0x0f, 0x84, 0, 1, 0, 0}));        // je
  EXPECT_FALSE(is_sensitive({0xc5, 0xf8, 0xae, 0x54, 0x24}));  // vldmxcsr
}

TEST(CodeScanTest, BytesOfOtherInstructionsAreNotInstructions) {
  EXPECT_FALSE(is_sensitive({0xb8, 0x0f, 0xa2, 0, 0}));           // mov eax, 0xa20f
  EXPECT_FALSE(is_sensitive({0x81, 0xe1, 0x00, 0x0f, 0x00, 0}));  // and ecx, 0xf00
  // Entered in its middle it is one.
  EXPECT_TRUE(is_sensitive({0xb8, 0x0f, 0xa2, 0, 0}, 0x100, 0x101));
}

// One that reaches into the next page belongs to that page.
TEST(CodeScanTest, InstructionsAcrossPages) {
  EXPECT_FALSE(is_sensitive({0x0f}, kPageSize - 1));
  std::array<u8, kPageSize> before;
  std::array<u8, kPageSize> page;
  before.fill(0x90);
  page.fill(0x90);
  before[kPageSize - 1] = 0x0f;
  page[0] = 0xa2;
  EXPECT_TRUE(has_sensitive_code({.before = before, .page = page}));
  before[kPageSize - 1] = 0x90;
  page[0] = 0x90;
  EXPECT_FALSE(has_sensitive_code({.before = before, .page = page}));
  // The page begins inside an instruction: mov eax, 0xa20f across the boundary.
  before[kPageSize - 1] = 0xb8;
  page[0] = 0x0f;
  page[1] = 0xa2;
  page[2] = page[3] = 0;
  EXPECT_FALSE(has_sensitive_code({.before = before, .page = page, .entry = 4}));
}

}  // namespace
}  // namespace doppel::direct
