// Lists of host CPUs.
#include "cli/host_cpu_list.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

using Cpus = std::vector<unsigned>;

TEST(HostCpuList, TakesNumbersAndRanges) {
  EXPECT_EQ(*parse_host_cpus(""), Cpus{});
  EXPECT_EQ(*parse_host_cpus("3"), Cpus{3});
  EXPECT_EQ(*parse_host_cpus("0,2-5,1"), (Cpus{0, 2, 3, 4, 5, 1}));
  EXPECT_EQ(*parse_host_cpus("7-7"), Cpus{7});
}

TEST(HostCpuList, RefusesEverythingElse) {
  EXPECT_FALSE(parse_host_cpus(","));
  EXPECT_FALSE(parse_host_cpus("1,"));
  EXPECT_FALSE(parse_host_cpus(",1"));
  EXPECT_FALSE(parse_host_cpus("5-2"));
  EXPECT_FALSE(parse_host_cpus("1-"));
  EXPECT_FALSE(parse_host_cpus("-1"));
  EXPECT_FALSE(parse_host_cpus("1024"));
  EXPECT_FALSE(parse_host_cpus("0x1"));
  EXPECT_FALSE(parse_host_cpus("1 2"));
}

}  // namespace
}  // namespace doppel
