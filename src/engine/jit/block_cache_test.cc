// Finding blocks, and forgetting those whose bytes are written.
#include "engine/jit/block_cache.h"

#include <gtest/gtest.h>

namespace doppel::jit {
namespace {

struct Bench {
  BlockCache cache;
  std::vector<u64> dropped;  // RIPs

  std::vector<u64> replaced;  // entries

  Block& insert(const Block& block) {
    return cache.insert(block, [this](Block& old) { replaced.push_back(old.bytes); });
  }
  Block& insert(u64 rip, u64 physical, u16 bytes, u32 second_frame = Block::kNoFrame) {
    return insert({.key = {.rip = rip, .physical = physical, .mode = kUser},
                   .bytes = bytes,
                   .second_frame = second_frame});
  }
  bool write(u64 address, u64 size) {
    return cache.drop_written(GuestPhys(address), size,
                              [this](Block& block) { dropped.push_back(block.key.rip); });
  }
};

// Of user code.
constexpr BlockKey key(u64 rip, u64 physical, AccessMode mode = kUser) { return {rip, physical, mode}; }

TEST(BlockCache, FindsByAllOfTheKey) {
  Bench bench;
  const Block& block = bench.insert(0x401000, 0x5000, 10);
  EXPECT_EQ(bench.cache.find(key(0x401000, 0x5000)), &block);
  EXPECT_EQ(bench.cache.find(key(0x402000, 0x5000)), nullptr);
  EXPECT_EQ(bench.cache.find(key(0x401000, 0x6000)), nullptr);
  EXPECT_EQ(bench.cache.find(key(0x401000, 0x5000, kSupervisor)), nullptr);
}

TEST(BlockCache, OneFrameAtSeveralAddresses) {
  Bench bench;
  const Block& first = bench.insert(0x401000, 0x5000, 10);
  const Block& second = bench.insert(0x801000, 0x5000, 10);
  EXPECT_EQ(bench.cache.find(key(0x401000, 0x5000)), &first);
  EXPECT_EQ(bench.cache.find(key(0x801000, 0x5000)), &second);
}

TEST(BlockCache, ATwinHasTheSameCodeElsewhere) {
  Bench bench;
  const Block& block = bench.insert({.key = key(0x401000, 0x5000), .bytes = 10, .is_copyable = true});
  bench.insert(0x402010, 0x6010, 10);
  EXPECT_EQ(bench.cache.twin_of(key(0x801000, 0x5000)), &block);
  EXPECT_EQ(bench.cache.twin_of(key(0x801000, 0x5000, kSupervisor)), nullptr);
  EXPECT_EQ(bench.cache.twin_of(key(0x801010, 0x5010)), nullptr);
  EXPECT_EQ(bench.cache.twin_of(key(0x802010, 0x6010)), nullptr) << "not copyable";
}

TEST(BlockCache, ADeadBlockIsNobodysTwin) {
  Bench bench;
  bench.insert({.key = key(0x401000, 0x5000), .bytes = 10, .is_copyable = true});
  bench.write(0x5000, 1);
  EXPECT_EQ(bench.cache.twin_of(key(0x801000, 0x5000)), nullptr);
  bench.insert({.key = key(0x401000, 0x5000), .bytes = 10, .is_copyable = true});
  bench.cache.clear();
  EXPECT_EQ(bench.cache.twin_of(key(0x801000, 0x5000)), nullptr);
}

TEST(BlockCache, WriteIntoABlockDropsTheFrame) {
  Bench bench;
  bench.insert(0x401000, 0x5000, 10);
  bench.insert(0x401800, 0x5800, 10);
  bench.insert(0x402000, 0x6000, 10);
  EXPECT_FALSE(bench.write(0x5009, 1));
  EXPECT_EQ(bench.dropped, (std::vector<u64>{0x401800, 0x401000}));
  EXPECT_EQ(bench.cache.find(key(0x401000, 0x5000)), nullptr);
  EXPECT_EQ(bench.cache.find(key(0x401800, 0x5800)), nullptr);
  EXPECT_NE(bench.cache.find(key(0x402000, 0x6000)), nullptr);
  EXPECT_FALSE(bench.cache.holds(5));
  EXPECT_TRUE(bench.cache.holds(6));
}

TEST(BlockCache, WriteBesideBlocksKeepsThem) {
  Bench bench;
  bench.insert(0x401000, 0x5000, 10);
  EXPECT_TRUE(bench.write(0x5800, 8));
  EXPECT_TRUE(bench.dropped.empty());
  EXPECT_NE(bench.cache.find(key(0x401000, 0x5000)), nullptr);
}

TEST(BlockCache, WriteThatEndsInABlockDropsIt) {
  Bench bench;
  bench.insert(0x401100, 0x5100, 10);
  EXPECT_FALSE(bench.write(0x50fc, 8));
  EXPECT_EQ(bench.dropped.size(), 1u);
}

TEST(BlockCache, LastBytesOfAFrameCount) {
  Bench bench;
  bench.insert(0x401ffe, 0x5ffe, 2);
  EXPECT_FALSE(bench.write(0x5fff, 1));
  EXPECT_EQ(bench.dropped.size(), 1u);
}

// What could not be translated (its bytes were not an instruction) can become one.
TEST(BlockCache, BlockWithoutBytesIsDroppedToo) {
  Bench bench;
  bench.insert(0x401000, 0x5000, 0);
  EXPECT_FALSE(bench.write(0x5000, 1));
  EXPECT_EQ(bench.dropped.size(), 1u);
}

TEST(BlockCache, WriteToAFrameWithoutBlocksHoldsNothing) {
  Bench bench;
  EXPECT_FALSE(bench.write(0x7000, 4096));
}

TEST(BlockCache, WriteToTheSecondPageDropsTheBlock) {
  Bench bench;
  bench.insert(0x401ffe, 0x5ffe, 4, 9);
  EXPECT_TRUE(bench.cache.holds(9));
  EXPECT_FALSE(bench.write(0x9001, 1));
  EXPECT_EQ(bench.dropped, std::vector<u64>{0x401ffe});
  EXPECT_EQ(bench.cache.find(key(0x401ffe, 0x5ffe)), nullptr);
}

// The list of one frame must not break when the other's goes.
TEST(BlockCache, BothFramesOfABlockMayGoOneAfterTheOther) {
  Bench bench;
  bench.insert(0x401ffe, 0x5ffe, 4, 6);
  bench.insert(0x401000, 0x5000, 4);
  bench.insert(0x402000, 0x6000, 4);
  EXPECT_FALSE(bench.write(0x6000, 1));
  EXPECT_FALSE(bench.write(0x5000, 1));
  EXPECT_EQ(bench.dropped.size(), 3u);
  EXPECT_FALSE(bench.cache.holds(5));
  EXPECT_FALSE(bench.cache.holds(6));
}

TEST(BlockCache, DropAllLeavesNothing) {
  Bench bench;
  bench.insert(0x401000, 0x5000, 10);
  bench.insert(0x402000, 0x6000, 10);
  unsigned count = 0;
  bench.cache.drop_all([&](Block&) { ++count; });
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(bench.cache.find(key(0x401000, 0x5000)), nullptr);
  EXPECT_FALSE(bench.cache.holds(5));
}

TEST(BlockCache, NewBlockTakesTheDroppedOnesPlace) {
  Bench bench;
  const Block& old = bench.insert(0x401000, 0x5000, 10);
  bench.write(0x5000, 1);
  const Block& fresh = bench.insert(0x401000, 0x5000, 12);
  EXPECT_TRUE(old.is_dead);
  EXPECT_EQ(bench.replaced, std::vector<u64>{10});
  EXPECT_EQ(bench.cache.find(key(0x401000, 0x5000)), &fresh);
}

}  // namespace
}  // namespace doppel::jit
