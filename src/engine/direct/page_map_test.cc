// What is unmapped when translations become stale.
#include "engine/direct/page_map.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace doppel::direct {
namespace {

constexpr u64 kPage = 0x5555'0000'3000;
constexpr u8 kData = PROT_READ | PROT_WRITE;
constexpr u8 kCode = PROT_READ | PROT_EXEC;

// Already mapped.
void enter(PageMap& map, u64 address, PageMap::Page page, bool is_large = false) {
  map.enter(address, page, {3, u64{page.frame} << kPageShift}, is_large);
  map.take_calls();
}

TEST(PageMapTest, AFlushedPageIsUnmappedOnce) {
  PageMap map;
  enter(map, kPage, {7, kData});
  enter(map, kPage + kPageSize, {8, kData});
  map.flush_page(kPage + 0x123);
  map.flush_page(kPage);
  EXPECT_EQ(map.find(kPage).protection, 0);
  EXPECT_EQ(map.find(kPage + kPageSize).frame, 8u);
  const std::vector<HostCall> calls = map.take_calls();
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].number, u64{SYS_munmap});
  EXPECT_EQ(calls[0].arguments[0], kPage);
  EXPECT_EQ(calls[0].arguments[1], kPageSize);
  EXPECT_TRUE(map.take_calls().empty());
  EXPECT_EQ(map.size(), 1u);
}

// A guest that invalidates one address of a large page means all of it. SDM 3A 4.10.4.1.
TEST(PageMapTest, ALargePageGoesAsAWhole) {
  PageMap map;
  const u64 start = kPage & ~(2 * kMiB - 1);
  enter(map, start, {1, kData}, true);
  enter(map, start + 511 * kPageSize, {512, kData}, true);
  map.flush_page(start + 77 * kPageSize);
  EXPECT_EQ(map.size(), 0u);
  const std::vector<HostCall> calls = map.take_calls();
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].arguments[0], start);
  EXPECT_EQ(calls[0].arguments[1], 2 * kMiB);
}

TEST(PageMapTest, FlushingAllLeavesTheStubItself) {
  PageMap map;
  enter(map, kPage, {7, kData});
  map.flush_all();
  const std::vector<HostCall> calls = map.take_calls();
  ASSERT_EQ(calls.size(), 2u);
  for (const HostCall& call : calls) {
    const u64 start = call.arguments[0];
    const u64 end = start + call.arguments[1];
    EXPECT_TRUE(end <= kStubBase || start >= kStubBase + kStubBytes);
  }
  EXPECT_EQ(calls[0].arguments[0], kLowestGuest);
  EXPECT_EQ(calls[1].arguments[0] + calls[1].arguments[1], kHighestGuest);
  map.flush_all();
  EXPECT_TRUE(map.take_calls().empty());  // nothing was mapped since
}

TEST(PageMapTest, ManyFlushesAreOne) {
  PageMap map;
  for (u64 i = 0; i < 200; ++i) enter(map, kPage + i * kPageSize, {static_cast<u32>(i + 1), kData});
  for (u64 i = 0; i < 100; ++i) map.flush_page(kPage + 2 * i * kPageSize);
  EXPECT_EQ(map.take_calls().size(), 2u);
  EXPECT_EQ(map.size(), 0u);
}

TEST(PageMapTest, RightsAreTakenFromEveryMappingOfAFrame) {
  PageMap map;
  enter(map, kPage, {7, kData});
  enter(map, 0x7fff'0000'0000, {7, kData});
  enter(map, 0x40'0000, {7, kCode});
  map.protect_frame(7);
  EXPECT_EQ(map.find(kPage).protection, 0);
  EXPECT_EQ(map.find(0x7fff'0000'0000).protection, 0);
  EXPECT_EQ(map.find(0x40'0000).protection, kCode);
  map.drop_code(7);
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(map.take_calls().size(), 3u);
}

TEST(PageMapTest, MappingsInARowAreOneCall) {
  PageMap map;
  for (u32 i = 0; i < 5; ++i) map.enter(kPage + i * kPageSize, {i, kData}, {3, i * kPageSize}, false);
  map.enter(kPage + 5 * kPageSize, {5, kCode}, {3, 5 * kPageSize}, false);
  map.enter(kPage + 6 * kPageSize, {9, kCode}, {3, 9 * kPageSize}, false);
  const std::vector<HostCall> calls = map.take_calls();
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].arguments[1], 5 * kPageSize);
  EXPECT_EQ(calls[2].arguments[5], 9 * kPageSize);
}

// Rights that are taken away before the page was ever mapped stay away.
TEST(PageMapTest, CallsComeInOrder) {
  PageMap map;
  map.enter(kPage, {7, kData}, {3, 0}, false);
  map.protect_frame(7);
  const std::vector<HostCall> calls = map.take_calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].number, u64{SYS_mmap});
  EXPECT_EQ(calls[1].number, u64{SYS_munmap});
}

TEST(PageMapTest, TheListIsBounded) {
  PageMap map;
  for (u64 i = 0; i < 1000; ++i) map.enter(kPage + 2 * i * kPageSize, {1, kData}, {3, 0}, false);
  EXPECT_LE(map.take_calls().size(), StubCalls::kMost);
}

}  // namespace
}  // namespace doppel::direct
