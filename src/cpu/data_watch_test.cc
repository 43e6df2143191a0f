// Matching of accesses and pages against watchpoints.
#include "cpu/data_watch.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

using Access = DataWatch::Access;

DataWatch watch(u64 address, u64 size, bool on_read, bool on_write) {
  return DataWatch({{GuestVirt(address), size, on_read, on_write}});
}

TEST(DataWatch, HitNamesTheWatchpointAndTheAccess) {
  DataWatch writes = watch(0x1004, 4, false, true);
  EXPECT_TRUE(writes.note(GuestVirt(0x1000), 8, Access::kWrite));
  const std::optional<DebugHit> hit = writes.take_hit();
  ASSERT_TRUE(hit);
  EXPECT_EQ(hit->address, GuestVirt(0x1004));
  EXPECT_TRUE(hit->is_write);
  EXPECT_FALSE(writes.take_hit());
}

TEST(DataWatch, TouchingBytesBesideItIsNoHit) {
  DataWatch both = watch(0x1004, 4, true, true);
  both.note(GuestVirt(0x1000), 4, Access::kRead);
  both.note(GuestVirt(0x1008), 4, Access::kWrite);
  EXPECT_FALSE(both.take_hit());
}

TEST(DataWatch, ProbeIsNoAccess) {
  DataWatch writes = watch(0x1000, 8, false, true);
  EXPECT_TRUE(writes.note(GuestVirt(0x1000), 8, Access::kProbe));
  EXPECT_FALSE(writes.take_hit());
}

TEST(DataWatch, DeferredAccessIsRefusedAndNotRecorded) {
  DataWatch writes = watch(0x1000, 8, false, true);
  writes.set_deferring(true);
  EXPECT_FALSE(writes.note(GuestVirt(0x1000), 8, Access::kProbe));
  EXPECT_TRUE(writes.take_deferred());
  EXPECT_FALSE(writes.take_hit());
}

TEST(DataWatch, CoversEveryPageItReachesInto) {
  const DataWatch both = watch(0x1ffe, 4, true, true);
  EXPECT_TRUE(both.is_watched_page(GuestVirt(0x1000)));
  EXPECT_TRUE(both.is_watched_page(GuestVirt(0x2fff)));
  EXPECT_FALSE(both.is_watched_page(GuestVirt(0x3000)));
  EXPECT_FALSE(both.is_watched_page(GuestVirt(0x0fff)));
}

TEST(DataWatch, MayEndAtTheLastAddress) {
  DataWatch both = watch(~u64{0} - 3, 4, true, true);
  EXPECT_TRUE(both.is_watched_page(GuestVirt(~u64{0})));
  EXPECT_FALSE(both.is_watched_page(GuestVirt(0)));
  both.note(GuestVirt(~u64{0} - 7), 8, Access::kRead);
  EXPECT_TRUE(both.take_hit());
}

}  // namespace
}  // namespace doppel
