// Console ports as a driver sees them.
#include "devices/virtio_console.h"

#include "devices/device_fakes.h"
#include "devices/virtio_device_fixture.h"

namespace doppel {
namespace {

using namespace virtio_console;

class Console : public VirtioDeviceFixture {
 protected:
  void start(u64 features) {
    plug(device_);
    ASSERT_TRUE(driver_->start(features));
  }
  void start_single() { start(kAllSplitFeatures & ~kFeatureMultiport); }
  // With control buffers, both ports ready and open.
  void start_multiport() {
    start(kAllSplitFeatures);
    for (int i = 0; i < 16; ++i) control_.push_back(driver_->writable(64));
    for (const TestPiece& buffer : control_) driver_->send(kControlReceive, {buffer});
  }
  void say(u32 port, Event event, u16 value) {
    driver_->send(kControlTransmit, {driver_->readable_value(Control{port, event, value})});
  }
  // The next control message, or one of port ~0.
  Control heard() {
    const auto used = driver_->take(kControlReceive);
    if (!used || used->written < sizeof(Control)) return {~0U, Event::kDeviceReady, 0};
    last_ = control_[next_control_++];
    last_size_ = used->written;
    return *memory_->read_value<Control>(last_.address);
  }
  std::size_t type(unsigned port, std::string_view text) {
    return device_.input(port).receive({reinterpret_cast<const u8*>(text.data()), text.size()});
  }

  FakeSink sink_;
  FakeSink second_sink_;
  VirtioConsole device_{
      {{.name = "main", .sink = &sink_, .is_console = true}, {.name = "agent", .sink = &second_sink_}},
      timers_};
  std::vector<TestPiece> control_;
  std::size_t next_control_ = 0;
  TestPiece last_;
  u32 last_size_ = 0;
};

TEST_F(Console, PrintsWhatTheGuestWrites) {
  start_single();
  driver_->send(1, {driver_->readable("hello "), driver_->readable("world")});
  EXPECT_EQ(sink_.text(), "hello world");
  EXPECT_EQ(driver_->take(1)->written, 0u);
}

TEST_F(Console, CutsEndlessBuffers) {
  start_single();
  const std::vector<TestPiece> pieces(1000, {GuestPhys(0), 4 * kMiB - 1, false});
  driver_->send(1, pieces, true);
  EXPECT_EQ(sink_.text().size(), VirtioConsole::kLargestWrite);
}

TEST_F(Console, TypesIntoBuffers) {
  start_single();
  const TestPiece buffer = driver_->writable(3);
  driver_->send(0, {buffer});
  EXPECT_EQ(type(0, "abcd"), 3u);
  EXPECT_EQ(driver_->take(0)->written, 3u);
  EXPECT_EQ(driver_->text(buffer), "abc");
}

TEST_F(Console, AnnouncesRoomForRefusedInput) {
  start_single();
  unsigned calls = 0;
  device_.input(0).on_input_space([&] { ++calls; });
  EXPECT_EQ(type(0, "x"), 0u);
  driver_->send(0, {driver_->writable(8)});
  EXPECT_EQ(calls, 1u);
  driver_->send(0, {driver_->writable(8)});
  EXPECT_EQ(calls, 1u);
}

TEST_F(Console, WithoutMultiportOtherQueuesSleep) {
  start_single();
  driver_->send(5, {driver_->readable("hidden")});
  driver_->send(kControlTransmit, {driver_->readable("hidden")});
  EXPECT_EQ(second_sink_.text(), "");
  EXPECT_FALSE(driver_->take(kControlTransmit));
}

TEST_F(Console, EmergencyWriteNeedsNoDriver) {
  plug(device_);
  const std::array<u8, 4> character = {'!', 0, 0, 0};
  core_->write_config(kEmergencyWriteOffset, character);
  EXPECT_EQ(sink_.text(), "!");
}

TEST_F(Console, AddsItsPorts) {
  start_multiport();
  say(0, Event::kDeviceReady, 1);
  EXPECT_EQ(heard().event, Event::kPortAdd);
  const Control second = heard();
  EXPECT_EQ(second.event, Event::kPortAdd);
  EXPECT_EQ(second.port, 1u);
  EXPECT_EQ(heard().port, ~0U);
}

TEST_F(Console, DescribesAPort) {
  start_multiport();
  say(1, Event::kPortReady, 1);
  EXPECT_EQ(heard().event, Event::kPortOpen);
  EXPECT_EQ(heard().event, Event::kPortName);
  EXPECT_EQ(driver_->text(last_.address + sizeof(Control), last_size_ - sizeof(Control)), "agent");
}

TEST_F(Console, SaysWhichPortIsAConsole) {
  start_multiport();
  say(0, Event::kPortReady, 1);
  EXPECT_EQ(heard().event, Event::kConsolePort);
}

TEST_F(Console, MessagesWaitForBuffersWithoutPilingUp) {
  start(kAllSplitFeatures);
  for (int i = 0; i < 50; ++i) {
    say(1, Event::kPortReady, 1);
    driver_->take(kControlTransmit);
  }
  for (int i = 0; i < 4; ++i) control_.push_back(driver_->writable(64));
  for (const TestPiece& buffer : control_) driver_->send(kControlReceive, {buffer});
  EXPECT_EQ(heard().event, Event::kPortOpen);
  EXPECT_EQ(heard().event, Event::kPortName);
  EXPECT_EQ(heard().port, ~0U);
}

TEST_F(Console, InputWaitsUntilTheGuestOpensThePort) {
  start_multiport();
  driver_->send(receive_queue(1), {driver_->writable(8)});
  unsigned calls = 0;
  device_.input(1).on_input_space([&] { ++calls; });
  EXPECT_EQ(type(1, "x"), 0u);
  say(1, Event::kPortOpen, 1);
  EXPECT_EQ(calls, 1u);
  EXPECT_EQ(type(1, "x"), 1u);
}

TEST_F(Console, SecondPortHasItsOwnOutput) {
  start_multiport();
  driver_->send(transmit_queue(1), {driver_->readable("data")});
  EXPECT_EQ(second_sink_.text(), "data");
  EXPECT_EQ(sink_.text(), "");
}

TEST_F(Console, ResizeReachesConfigurationAndPort) {
  start_multiport();
  device_.resize(132, 50);
  EXPECT_EQ(config32(0), 50U << 16 | 132);
  EXPECT_EQ(interrupts_.config_interrupts, 1u);
  EXPECT_EQ(heard().event, Event::kResize);
  EXPECT_EQ(memory_->read_value<Resize>(last_.address)->columns, 132);
}

TEST_F(Console, NonsenseIsIgnored) {
  start_multiport();
  say(31, Event::kPortReady, 1);
  say(0, static_cast<Event>(99), 1);
  driver_->send(kControlTransmit, {driver_->readable("x")});
  EXPECT_EQ(heard().port, ~0U);
}

TEST_F(Console, StateSurvivesSaveAndLoad) {
  start(kAllSplitFeatures);
  device_.resize(80, 25);
  say(1, Event::kPortReady, 1);
  say(1, Event::kPortOpen, 1);
  const std::vector<u8> state = save();
  core_->reset();
  ASSERT_TRUE(load(state));
  EXPECT_EQ(save(), state);
  driver_->send(receive_queue(1), {driver_->writable(8)});
  EXPECT_EQ(type(1, "x"), 1u);
}

}  // namespace
}  // namespace doppel
