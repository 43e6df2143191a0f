// The options of rng, balloon and console.
#include "devices/virtio_options.h"

#include <gtest/gtest.h>

#include "devices/device_fakes.h"
#include "devices/virtio_balloon.h"
#include "devices/virtio_console_option.h"

namespace doppel {
namespace {

class VirtioOption : public testing::Test {
 protected:
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::create(kMiB);
  FakeInputs inputs_;
  TimerQueue timers_{inputs_};
  FakeSink sink_;
  VirtioEnvironment environment_{.memory = *memory_, .timers = timers_, .terminal = &sink_};
};

TEST_F(VirtioOption, RngTakesRateAndPlace) {
  const auto made = make_virtio_rng("on,rate=4K,transport=mmio,ring=packed", environment_);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->device->device_id(), 4);
  EXPECT_EQ(made->placement.transport, VirtioTransport::kMmio);
  EXPECT_TRUE(made->placement.offers_packed);
}

TEST_F(VirtioOption, RngRefusesOtherSources) {
  const auto made = make_virtio_rng("fast", environment_);
  ASSERT_FALSE(made);
  EXPECT_TRUE(made.error().is_usage);
}

TEST_F(VirtioOption, BalloonStartsAtItsSize) {
  const auto made = make_virtio_balloon("64M,oom=off", environment_);
  ASSERT_TRUE(made);
  ASSERT_NE(made->balloon, nullptr);
  EXPECT_EQ(made->balloon->target_pages(), 16384u);
  EXPECT_EQ(made->device->device_features() & virtio_balloon::kFeatureDeflateOnOom, 0u);
}

TEST_F(VirtioOption, BalloonRefusesNonsense) {
  EXPECT_FALSE(make_virtio_balloon("lots", environment_));
  EXPECT_FALSE(make_virtio_balloon("64T", environment_));
  EXPECT_FALSE(make_virtio_balloon("1M,oom=perhaps", environment_));
}

// Its back ends are tested in console_socket_test.cc.
TEST_F(VirtioOption, ConsoleOnTheTerminalTakesItsInput) {
  const auto made = make_virtio_console("terminal", environment_);
  ASSERT_TRUE(made);
  EXPECT_NE(made->console_input, nullptr);
  EXPECT_EQ(make_virtio_console("none", environment_)->console_input, nullptr);
  EXPECT_FALSE(make_virtio_console("file", environment_));
}

TEST_F(VirtioOption, ConsoleHasAPortForEachValue) {
  const std::array<std::string, 2> values = {"terminal,transport=mmio", "none,name=second"};
  const auto made = make_virtio_console_of_all(values, environment_);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->device->queue_sizes().size(), 6u);
  EXPECT_EQ(made->placement.transport, VirtioTransport::kMmio);
}

TEST_F(VirtioOption, ConsoleRefusesWhatCannotBe) {
  using Values = std::array<std::string, 2>;
  EXPECT_FALSE(make_virtio_console_of_all(Values{"terminal", "terminal,name=other"}, environment_));
  EXPECT_FALSE(make_virtio_console_of_all(Values{"terminal", "none"}, environment_));
  EXPECT_FALSE(make_virtio_console_of_all(Values{"terminal", "none,name=b,ring=packed"}, environment_));
  EXPECT_FALSE(make_virtio_console("socket=/tmp/x", environment_));
  EXPECT_FALSE(make_virtio_console("socket=/tmp/x,name=../x", environment_));
  EXPECT_FALSE(make_virtio_console("socket=,name=x", environment_));
  EXPECT_FALSE(make_virtio_console_of_all(std::vector<std::string>(32, "none"), environment_));
}

TEST_F(VirtioOption, ConsoleSocketNeedsTheHostsClock) {
  const auto made = make_virtio_console("socket=/tmp/x,name=x", environment_);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("--clock instructions"), std::string::npos);
}

}  // namespace
}  // namespace doppel
