// Reports on page tables, hostile ones included.
#include "cpu/page_table_report.h"

#include "cpu/mmu_fixture.h"

namespace doppel {
namespace {

using namespace mmu_test;  // NOLINT(google-build-using-namespace): the fixture's words

class PageTableReport : public PagingUnit {
 protected:
  std::string report() { return page_table_report(state, *memory); }
};

TEST_F(PageTableReport, JoinsPagesThatFollowEachOther) {
  map(kPage, 0x100000 | kSystem);
  map(kPage + kPageSize, 0x101000 | kSystem);
  EXPECT_EQ(report(), "0000000000005000-0000000000006fff -> 000000100000     4 K  -wx-\n");
}

TEST_F(PageTableReport, KeepsDifferentRightsApart) {
  map(kKernel, 0x100000 | kSystem | kGlobal | u64{1} << 63);
  map(kKernel + kPageSize, 0x101000 | kPresent);
  EXPECT_EQ(report(),
            "ffffffffc0000000-ffffffffc0000fff -> 000000100000     4 K  -w-g\n"
            "ffffffffc0001000-ffffffffc0001fff -> 000000101000     4 K  --x-\n");
}

TEST_F(PageTableReport, TablesThatContainThemselvesEnd) {
  for (u64 i = 0; i < 512; ++i) set(kTop + i * 8, kTop | kAny);
  EXPECT_NE(report().find("(more is mapped)"), std::string::npos);
}

TEST_F(PageTableReport, TablesOutsideRamAreSkipped) {
  set(kTop, 0xfee00000 | kAny);
  set(kTop + 511 * 8, 0);
  EXPECT_EQ(report(), "nothing is mapped\n");
}

TEST_F(PageTableReport, SaysWhenPagingIsOff) {
  state.cr0 = x86::kCr0Pe;
  EXPECT_EQ(report(), "paging is off\n");
}

}  // namespace
}  // namespace doppel
