// Tests of the software TLB's index.
#include <gtest/gtest.h>

#include "cpu/mmu.h"

namespace doppel {
namespace {

// The first page, beginning at `page`, that shares its entry with the page behind it; 0 when there is none.
u64 first_shared(u64 page, u64 pages) {
  for (u64 va = page; va != page + pages * kPageSize; va += kPageSize) {
    if (tlb_index(va) == tlb_index(va + kPageSize)) return va;
  }
  return 0;
}

// An access that crosses into the next page misses because it finds the tag of its first page.
TEST(TlbIndex, NeighbouringPagesNeverShareAnEntry) {
  EXPECT_EQ(first_shared(0, 4 << 20), 0u);
  EXPECT_EQ(first_shared(0x7fffffff0000, 64), 0u);
  EXPECT_EQ(first_shared(0xffff'8000'0000'0000 - 32 * kPageSize, 64), 0u);
  EXPECT_EQ(first_shared(0xffff'ffff'8000'0000 - 32 * kPageSize, 64), 0u);
  EXPECT_EQ(first_shared(u64{0} - 32 * kPageSize, 64), 0u);
}

}  // namespace
}  // namespace doppel
