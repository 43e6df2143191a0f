// What is kept comes back for the same code only, and files that cannot be trusted give nothing.
#include "engine/jit/translation_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace doppel {
namespace {

using jit::BlockKey;
using jit::Relocation;

constexpr u64 kVariant = 7;
constexpr BlockKey kKey{.rip = 0x5555'5555'5010, .physical = 0x3010, .mode = kUser};
constexpr std::array<u8, 12> kGuest = {0x48, 0x89, 0xe5, 0xc3, 1, 2, 3, 4, 5, 6, 7, 8};
constexpr std::array<u8, 20> kCode = {0x90, 0x91, 0x92, 0x93, 0x94, 0x95};

struct TranslationStoreTest : testing::Test {
  TranslationStoreTest() {
    std::string name = testing::TempDir() + "doppel-store-XXXXXX";
    folder = ::mkdtemp(name.data());
    path = folder + "/cache";
  }
  ~TranslationStoreTest() override { std::filesystem::remove_all(folder); }

  std::shared_ptr<TranslationStore> open(u64 most = kMiB) {
    auto store = TranslationStore::open(path, most);
    EXPECT_TRUE(store) << store.error().message;
    return store ? *store : nullptr;
  }
  // A block of the first four bytes.
  static TranslationStore::Stored stored() {
    TranslationStore::Stored result;
    result.block.key = kKey;
    result.block.bytes = 4;
    result.block.instructions = 2;
    result.block.executed = 1;
    result.block.size = kCode.size();
    result.block.island = 3;
    result.block.entry = 5;
    result.block.direct = 9;
    result.relocations = kRelocations;
    result.code = kCode;
    return result;
  }
  void keep_one() { open()->add(kVariant, stored(), kGuest); }
  std::vector<char> file() {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write_file(const std::vector<char>& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  static constexpr Relocation kRelocations[] = {
      {Relocation::Kind::kOutside, 1}, {Relocation::Kind::kBranch, 2, 12}, {Relocation::Kind::kAddress, 6}};
  std::string folder;
  std::string path;
};

TEST_F(TranslationStoreTest, WhatWasAddedIsThereNextTime) {
  keep_one();
  const auto store = open();
  EXPECT_EQ(store->count(), 1u);
  const BlockKey elsewhere{.rip = 0x7fff'0000'0010, .physical = 0x9010, .mode = kUser};
  const auto found = store->find(kVariant, elsewhere, kGuest);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->block.key.rip, kKey.rip);
  EXPECT_EQ(found->block.start, 0u);
  EXPECT_EQ(found->block.bytes, 4u);
  EXPECT_EQ(found->block.instructions, 2u);
  EXPECT_EQ(found->block.executed, 1u);
  EXPECT_EQ(found->block.size, kCode.size());
  EXPECT_EQ(found->block.island, 3u);
  EXPECT_EQ(found->block.entry, 5u);
  EXPECT_EQ(found->block.direct, 9u);
  EXPECT_TRUE(std::ranges::equal(found->code, kCode));
  ASSERT_EQ(found->relocations.size(), std::size(kRelocations));
  EXPECT_EQ(found->relocations[1].kind, Relocation::Kind::kBranch);
  EXPECT_EQ(found->relocations[1].at, 2);
  EXPECT_EQ(found->relocations[1].target, 12);
}

TEST_F(TranslationStoreTest, OtherCodeModesPlacesAndVariantsFindNothing) {
  keep_one();
  const auto store = open();
  std::array<u8, 12> other = kGuest;
  other[3] = 0x90;
  EXPECT_FALSE(store->find(kVariant, kKey, other));
  EXPECT_FALSE(store->find(kVariant + 1, kKey, kGuest));
  EXPECT_FALSE(
      store->find(kVariant, {.rip = kKey.rip, .physical = kKey.physical, .mode = kSupervisor}, kGuest));
  EXPECT_FALSE(
      store->find(kVariant, {.rip = kKey.rip + 16, .physical = kKey.physical, .mode = kUser}, kGuest));
  EXPECT_FALSE(store->find(kVariant, kKey, std::span(kGuest).first(3)));
}

TEST_F(TranslationStoreTest, TheSameBlockIsKeptOnce) {
  {
    const auto store = open();
    store->add(kVariant, stored(), kGuest);
    store->add(kVariant, stored(), kGuest);
    store->add(kVariant + 1, stored(), kGuest);
  }
  EXPECT_EQ(open()->count(), 2u);
}

TEST_F(TranslationStoreTest, LaterMachinesAddToTheFile) {
  keep_one();
  {
    const auto store = open();
    for (u64 variant = 100; variant < 1100; ++variant) store->add(variant, stored(), kGuest);
  }
  const auto store = open();
  EXPECT_EQ(store->count(), 1001u);
  EXPECT_TRUE(store->find(kVariant, kKey, kGuest));
  for (u64 variant = 100; variant < 1100; ++variant)
    EXPECT_TRUE(store->find(variant, kKey, kGuest)) << variant;
}

TEST_F(TranslationStoreTest, DoesNotGrowBeyondItsLimit) {
  {
    const auto store = open(100);
    for (u64 variant = 0; variant < 100; ++variant) store->add(variant, stored(), kGuest);
  }
  EXPECT_EQ(open()->count(), 2u);
}

TEST_F(TranslationStoreTest, LeavesTheFileAloneWhenThereIsNothingNew) {
  keep_one();
  const auto before = std::filesystem::last_write_time(path);
  open();
  EXPECT_EQ(std::filesystem::last_write_time(path), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST_F(TranslationStoreTest, ADamagedFileCountsAsEmpty) {
  keep_one();
  const std::vector<char> good = file();
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<char> bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    write_file(bad);
    EXPECT_EQ(open()->count(), 0u) << "byte " << i;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    write_file({good.begin(), good.begin() + static_cast<i64>(size)});
    EXPECT_EQ(open()->count(), 0u) << size << " bytes";
  }
  keep_one();
  EXPECT_EQ(open()->count(), 1u);
}

TEST_F(TranslationStoreTest, AFileThatOthersMayWriteIsRefused) {
  keep_one();
  for (const mode_t mode : {0620, 0602}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const auto store = TranslationStore::open(path);
    ASSERT_FALSE(store);
    EXPECT_NE(store.error().message.find("others may write it"), std::string::npos);
  }
}

TEST_F(TranslationStoreTest, FoldersLinksAndMissingFoldersAreRefused) {
  EXPECT_FALSE(TranslationStore::open(folder));
  EXPECT_FALSE(TranslationStore::open(folder + "/none/cache"));
  keep_one();
  std::filesystem::create_symlink(path, folder + "/link");
  EXPECT_FALSE(TranslationStore::open(folder + "/link"));
}

}  // namespace
}  // namespace doppel
