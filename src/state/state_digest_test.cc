// Tests that the digest tells different states apart, and what the dump looks like.
#include "state/state_digest.h"

#include <gtest/gtest.h>

#include <array>

namespace doppel {
namespace {

u64 digest_of(std::string_view name, std::vector<u8> data) {
  StateHasher hasher;
  hasher.bytes(name, data);
  return hasher.digest();
}

TEST(StateHasher, EqualStatesHaveEqualDigests) { EXPECT_EQ(digest_of("a", {1, 2}), digest_of("a", {1, 2})); }

TEST(StateHasher, DependsOnDataNameAndLength) {
  const u64 digest = digest_of("ab", {1, 2});
  EXPECT_NE(digest, digest_of("ab", {1, 3}));
  EXPECT_NE(digest, digest_of("ac", {1, 2}));
  EXPECT_NE(digest, digest_of("ab", {1, 2, 0}));
}

TEST(StateHasher, TellsABlobFromAField) {
  std::vector<u8> data = {1};
  StateHasher hasher;
  hasher.blob("a", data, 1);
  EXPECT_NE(hasher.digest(), digest_of("a", {1}));
}

TEST(StateHasher, DependsOnGrouping) {
  std::vector<u8> data = {1};
  StateHasher inside;
  inside.begin("g");
  inside.bytes("a", data);
  inside.end();
  StateHasher outside;
  outside.begin("g");
  outside.end();
  outside.bytes("a", data);
  EXPECT_NE(inside.digest(), outside.digest());
}

TEST(StateHasher, DigestMayBeTakenInBetween) {
  std::vector<u8> data = {1};
  StateHasher hasher;
  hasher.bytes("a", data);
  const u64 first = hasher.digest();
  EXPECT_EQ(first, digest_of("a", {1}));
  hasher.bytes("a", data);
  EXPECT_NE(first, hasher.digest());
}

TEST(StatePrinter, PrintsOneLineAField) {
  StatePrinter printer;
  u32 number = 0xbeef;
  bool flag = true;
  std::array<u8, 3> table = {0x0a, 0x0b, 0xff};
  printer.begin("cpu0");
  printer.field("number", number);
  printer.field("flag", flag);
  printer.field("table", table);
  printer.end();
  EXPECT_EQ(printer.text(), "cpu0/number = 0x0000beef\ncpu0/flag = 0x01\ncpu0/table = [3] 0a0bff\n");
}

TEST(StatePrinter, AbbreviatesLongFields) {
  StatePrinter printer;
  std::vector<u8> page(4096);
  printer.bytes("page", page);
  EXPECT_EQ(printer.text().substr(0, 19), "page = [4096] xxh3:");
  EXPECT_EQ(printer.text().size(), 19u + 16 + 1);
}

}  // namespace
}  // namespace doppel
