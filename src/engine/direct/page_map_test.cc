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

TEST(PageMapTest, AFlushedPageIsUnmappedOnce) {
  PageMap map;
  map.enter(kPage, {7, kData}, false);
  map.enter(kPage + kPageSize, {8, kData}, false);
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
  map.enter(start, {1, kData}, true);
  map.enter(start + 511 * kPageSize, {512, kData}, true);
  map.flush_page(start + 77 * kPageSize);
  EXPECT_EQ(map.size(), 0u);
  const std::vector<HostCall> calls = map.take_calls();
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].arguments[0], start);
  EXPECT_EQ(calls[0].arguments[1], 2 * kMiB);
}

TEST(PageMapTest, FlushingAllLeavesTheStubItself) {
  PageMap map;
  map.enter(kPage, {7, kData}, false);
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
  for (u64 i = 0; i < 200; ++i) map.enter(kPage + i * kPageSize, {static_cast<u32>(i + 1), kData}, false);
  for (u64 i = 0; i < 100; ++i) map.flush_page(kPage + 2 * i * kPageSize);
  EXPECT_EQ(map.take_calls().size(), 2u);
  EXPECT_EQ(map.size(), 0u);
}

TEST(PageMapTest, RightsAreTakenFromEveryMappingOfAFrame) {
  PageMap map;
  map.enter(kPage, {7, kData}, false);
  map.enter(0x7fff'0000'0000, {7, kData}, false);
  map.enter(0x40'0000, {7, kCode}, false);
  map.protect_frame(7);
  EXPECT_EQ(map.find(kPage).protection, 0);
  EXPECT_EQ(map.find(0x7fff'0000'0000).protection, 0);
  EXPECT_EQ(map.find(0x40'0000).protection, kCode);
  map.drop_code(7);
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(map.take_calls().size(), 3u);
}

}  // namespace
}  // namespace doppel::direct
