// Which device answers where, and what happens between and beside devices.
#include "bus/address_map.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace doppel {
namespace {

// Answers each byte with `tag` plus its offset and writes down what it is asked. Owned by a test.
struct FakeDevice final : BusDevice {
  explicit FakeDevice(u8 tag_of_device) : tag(tag_of_device) {}
  void read(u64 offset, std::span<u8> data) override {
    log += fmt::format("r{}+{} ", offset, data.size());
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(tag + offset + i);
  }
  void write(u64 offset, std::span<const u8> data) override {
    log += fmt::format("w{}={:x}/{} ", offset, load_le(data), data.size());
  }
  u8 tag;
  std::string log;
};

u64 read(AddressMap& map, u64 address, unsigned size) {
  std::array<u8, 8> data = {};
  map.read(address, std::span(data).first(size));
  return load_le(data);
}

void write(AddressMap& map, u64 address, unsigned size, u64 value) {
  std::array<u8, 8> data = {};
  store_le(data, value);
  map.write(address, std::span(data).first(size));
}

// "low" answers at 0x100..0x10f, "high" at 0x110..0x11f.
struct Bench {
  AddressMap map;
  FakeDevice low{0x10};
  FakeDevice high{0x80};
  Bench() {
    EXPECT_TRUE(map.add(0x110, 0x10, high, "high"));
    EXPECT_TRUE(map.add(0x100, 0x10, low, "low"));
  }
};

TEST(AddressMap, PassesOffsetsFromTheStartOfTheRange) {
  Bench bench;
  EXPECT_EQ(read(bench.map, 0x104, 4), 0x17161514u);
  write(bench.map, 0x11c, 4, 0xcafe0001);
  EXPECT_EQ(bench.low.log, "r4+4 ");
  EXPECT_EQ(bench.high.log, "w12=cafe0001/4 ");
  EXPECT_EQ(bench.map.unclaimed_accesses(), 0u);
}

TEST(AddressMap, ReadsOnesWhereNobodyAnswers) {
  Bench bench;
  EXPECT_EQ(read(bench.map, 0x120, 8), ~u64{0});
  EXPECT_EQ(read(bench.map, 0xff, 1), 0xffu);
  EXPECT_EQ(bench.map.unclaimed_accesses(), 9u);
}

TEST(AddressMap, DropsWritesWhereNobodyListens) {
  Bench bench;
  write(bench.map, 0xfc, 4, 0x12345678);
  EXPECT_EQ(bench.low.log, "");
  EXPECT_EQ(bench.map.unclaimed_accesses(), 4u);
}

TEST(AddressMap, SplitsAReadAcrossTwoDevicesIntoBytes) {
  Bench bench;
  EXPECT_EQ(read(bench.map, 0x10e, 4), 0x81801f1eu);
  EXPECT_EQ(bench.low.log, "r14+1 r15+1 ");
  EXPECT_EQ(bench.high.log, "r0+1 r1+1 ");
}

TEST(AddressMap, SplitsAWriteThatLeavesTheLastDevice) {
  Bench bench;
  write(bench.map, 0x11e, 4, 0x44332211);
  EXPECT_EQ(bench.high.log, "w14=11/1 w15=22/1 ");
  EXPECT_EQ(bench.map.unclaimed_accesses(), 2u);
}

TEST(AddressMap, FillsTheMissingBytesOfAReadWithOnes) {
  Bench bench;
  EXPECT_EQ(read(bench.map, 0xfe, 4), 0x1110ffffu);
}

TEST(AddressMap, WrapsAnAccessAtTheTopOfTheAddressSpace) {
  AddressMap map;
  FakeDevice bottom(0x40);
  ASSERT_TRUE(map.add(0, 4, bottom, "bottom"));
  EXPECT_EQ(read(map, ~u64{0}, 2), 0x40ffu);
}

TEST(AddressMap, AnswersAtTheLastByteOfTheAddressSpace) {
  AddressMap map;
  FakeDevice top(0x40);
  ASSERT_TRUE(map.add(~u64{0}, 1, top, "top"));
  EXPECT_EQ(read(map, ~u64{0}, 1), 0x40u);
}

TEST(AddressMap, RefusesRangesThatAreEmptyOrWrap) {
  AddressMap map;
  FakeDevice device(0);
  EXPECT_FALSE(map.add(0x100, 0, device, "empty"));
  EXPECT_FALSE(map.add(~u64{0}, 2, device, "wraps"));
}

TEST(AddressMap, RefusesOverlapsOnEitherSide) {
  AddressMap map;
  FakeDevice device(0);
  ASSERT_TRUE(map.add(0x100, 0x10, device, "first"));
  EXPECT_FALSE(map.add(0x100, 0x10, device, "same"));
  EXPECT_FALSE(map.add(0xff, 2, device, "reaches in from below"));
  EXPECT_FALSE(map.add(0x10f, 1, device, "last byte"));
  EXPECT_FALSE(map.add(0x0, 0x1000, device, "around"));
  EXPECT_TRUE(map.add(0xff, 1, device, "just below"));
  EXPECT_TRUE(map.add(0x110, 1, device, "just above"));
}

TEST(AddressMap, NamesTheRangeThatOverlaps) {
  AddressMap map;
  FakeDevice device(0);
  ASSERT_TRUE(map.add(0x100, 0x10, device, "first"));
  EXPECT_EQ(map.add(0x108, 1, device, "second").error().message,
            "bus range 'second' at 0x108 overlaps another");
}

TEST(AddressMap, AnswersNoLongerAfterRemoval) {
  Bench bench;
  bench.map.remove(0x100);
  EXPECT_EQ(read(bench.map, 0x100, 1), 0xffu);
  EXPECT_EQ(read(bench.map, 0x110, 1), 0x80u);
}

TEST(AddressMap, CountsAccessesByDevice) {
  AddressMap map;
  FakeDevice device(0);
  ASSERT_TRUE(map.add(0x100, 0x10, device, "clock"));
  read(map, 0x100, 1);
  read(map, 0x104, 4);
  MetricList list;
  map.add_metrics(list, "port");
  EXPECT_NE(list.prometheus_text().find("device=\"clock\",access=\"read\"} 2"), std::string::npos);
  EXPECT_NE(list.prometheus_text().find("device=\"clock\",access=\"write\"} 0"), std::string::npos);
}

// The values of one kind, in the order of the list.
std::vector<u64> values(const AddressMap& map, std::string_view kind, std::string_view device) {
  MetricList list;
  map.add_metrics(list, "port");
  std::vector<u64> found;
  for (const MetricList::Metric& metric : list.all()) {
    if (metric.kind.name == kind && metric.labels[1].value == device) found.push_back(metric.value);
  }
  return found;
}
using Values = std::vector<u64>;

TEST(AddressMap, TimeIsChargedToTheDeviceAndDirection) {
  Bench bench;
  bench.map.charge_read(0x104, 4, Nanoseconds(10));
  bench.map.charge_write(0x110, 1, Nanoseconds(20));
  bench.map.charge_write(0x10e, 4, Nanoseconds(5));
  bench.map.charge_read(0x500, 4, Nanoseconds(7));
  EXPECT_EQ(values(bench.map, "bus_access_time", "low"), (Values{10, 5}));
  EXPECT_EQ(values(bench.map, "bus_access_time", "high"), (Values{0, 20}));
  EXPECT_EQ(values(bench.map, "bus_access_time", "nobody"), (Values{7, 0}));
}

TEST(AddressMap, AccountsOfADeviceStayWhenItMoves) {
  Bench bench;
  read(bench.map, 0x100, 1);
  bench.map.remove(0x100);
  ASSERT_TRUE(bench.map.add(0x200, 0x10, bench.low, "low"));
  ASSERT_TRUE(bench.map.add(0x300, 0x10, bench.low, "low"));
  read(bench.map, 0x200, 1);
  write(bench.map, 0x300, 1, 0);
  write(bench.map, 0x100, 1, 0);
  EXPECT_EQ(values(bench.map, "bus_accesses", "low"), (Values{2, 1}));
  EXPECT_EQ(values(bench.map, "bus_accesses", "nobody"), (Values{0, 1}));
}

}  // namespace
}  // namespace doppel
