// Metrics as text.
#include "base/metrics.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

constexpr MetricKind kExits{"exits", "Exits by reason."};
constexpr MetricKind kTime{"exit_time", "Time in exits.", MetricUnit::kNanoseconds};

TEST(MetricList, PrometheusTextHasOneHeadAKind) {
  MetricList list;
  list.add(kExits, 3, {{"reason", "mmio"}});
  list.add(kTime, 1'500'000'000);
  list.add(kExits, 4, {{"reason", "port"}});
  EXPECT_EQ(list.prometheus_text(),
            "# HELP doppel_exits_total Exits by reason.\n"
            "# TYPE doppel_exits_total counter\n"
            "doppel_exits_total{reason=\"mmio\"} 3\n"
            "doppel_exits_total{reason=\"port\"} 4\n"
            "# HELP doppel_exit_time_seconds_total Time in exits.\n"
            "# TYPE doppel_exit_time_seconds_total counter\n"
            "doppel_exit_time_seconds_total 1.500000000\n");
}

TEST(MetricList, CommonLabelsComeFirst) {
  MetricList list;
  list.set_common({{"cpu", "1"}});
  list.add(kExits, 1, {{"reason", "hlt"}});
  EXPECT_NE(list.prometheus_text().find("{cpu=\"1\",reason=\"hlt\"} 1"), std::string::npos);
}

TEST(MetricList, LabelValuesAreEscaped) {
  MetricList list;
  list.add(kExits, 1, {{"device", "a\"b\\c\nd"}});
  EXPECT_NE(list.prometheus_text().find("{device=\"a\\\"b\\\\c\\nd\"} 1"), std::string::npos);
}

TEST(MetricList, TableShowsTheLargestFirstAndNoZeros) {
  MetricList list;
  list.add(kExits, 0, {{"reason", "none"}});
  list.add(kExits, 3, {{"reason", "few"}});
  list.add(kExits, 40, {{"reason", "many"}});
  EXPECT_EQ(list.table_text(),
            "exits: Exits by reason.\n"
            "                    40  reason many\n"
            "                     3  reason few\n");
}

}  // namespace
}  // namespace doppel
