// Dual-mapped code memory.
#include "cpu/code_buffer.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>

namespace doppel {
namespace {

constexpr std::array<u8, 6> kReturn42 = {0xb8, 42, 0, 0, 0, 0xc3};  // mov eax, 42; ret
constexpr std::array<u8, 6> kReturn7 = {0xb8, 7, 0, 0, 0, 0xc3};

int call(const u8* address) { return std::bit_cast<int (*)()>(address)(); }

TEST(CodeBuffer, RunsWhatWasAppended) {
  CodeBuffer buffer = std::move(*CodeBuffer::create(4096));
  const u8* first = buffer.append(kReturn42);
  const u8* second = buffer.append(kReturn7);
  EXPECT_EQ(call(first), 42);
  EXPECT_EQ(call(second), 7);
  EXPECT_EQ(std::bit_cast<u64>(second) % 16, 0u);
}

TEST(CodeBuffer, RefusesWhatDoesNotFit) {
  CodeBuffer buffer = std::move(*CodeBuffer::create(1));
  EXPECT_EQ(buffer.size(), 4096u);
  const std::array<u8, 4000> large = {};
  EXPECT_NE(buffer.append(large), nullptr);
  EXPECT_EQ(buffer.append(large), nullptr);
}

TEST(CodeBuffer, ReusesItsMemoryAfterClear) {
  CodeBuffer buffer = std::move(*CodeBuffer::create(4096));
  const u8* first = buffer.append(kReturn42);
  EXPECT_EQ(call(first), 42);
  buffer.clear();
  EXPECT_EQ(buffer.used(), 0u);
  const u8* second = buffer.append(kReturn7);
  EXPECT_EQ(first, second);
  EXPECT_EQ(call(second), 7);
}

}  // namespace
}  // namespace doppel
