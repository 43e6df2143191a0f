// The keyboard controller as an operating system's probe sees it.
#include "devices/i8042.h"

#include <gtest/gtest.h>

#include "devices/device_fakes.h"

namespace doppel {
namespace {

class KeyboardController : public testing::Test {
 protected:
  u8 status() { return static_cast<u8>(read_from(controller_, I8042::kCommandOffset)); }
  u8 data() { return static_cast<u8>(read_from(controller_, I8042::kDataOffset)); }
  void command(u8 value) { write_to(controller_, I8042::kCommandOffset, value); }
  void send(u8 value) { write_to(controller_, I8042::kDataOffset, value); }

  FakeLine keyboard_;
  FakeLine mouse_;
  FakeMachine machine_;
  I8042 controller_{keyboard_, mouse_, machine_};
};

TEST_F(KeyboardController, StartsEmptyAndUnlocked) { EXPECT_EQ(status(), 0x14); }

TEST_F(KeyboardController, PassesItsSelfTest) {
  command(0xaa);
  EXPECT_EQ(status(), 0x1d);
  EXPECT_EQ(data(), 0x55);
  EXPECT_EQ(status(), 0x1c);
}

TEST_F(KeyboardController, PassesItsPortTests) {
  command(0xab);
  EXPECT_EQ(data(), 0x00);
  command(0xa9);
  EXPECT_EQ(status() & 1, 1);
  EXPECT_EQ(data(), 0x00);
}

TEST_F(KeyboardController, KeepsTheCommandByte) {
  command(0x60);
  send(0x57);
  command(0x20);
  EXPECT_EQ(data(), 0x57);
}

TEST_F(KeyboardController, DisableCommandsShowInTheCommandByte) {
  command(0xa7);
  command(0xad);
  command(0x20);
  EXPECT_EQ(data(), 0x74);
  command(0xa8);
  command(0xae);
  command(0x20);
  EXPECT_EQ(data(), 0x44);
}

TEST_F(KeyboardController, LoopsBytesThroughTheMousePort) {
  command(0xd3);
  send(0x5a);
  EXPECT_EQ(status() & 0x21, 0x21);
  EXPECT_EQ(data(), 0x5a);
}

TEST_F(KeyboardController, MouseLoopRaisesInterruptTwelve) {
  command(0x60);
  send(0x46);
  command(0xd3);
  send(0xa5);
  EXPECT_TRUE(mouse_.is_high());
  EXPECT_FALSE(keyboard_.is_high());
  data();
  EXPECT_FALSE(mouse_.is_high());
}

TEST_F(KeyboardController, MissingKeyboardAnswersWithTimeout) {
  command(0x60);
  send(0x45);
  send(0xf2);
  EXPECT_TRUE(keyboard_.is_high());
  EXPECT_EQ(status() & 0x61, 0x41);
  EXPECT_EQ(data(), 0xfe);
  EXPECT_FALSE(keyboard_.is_high());
}

TEST_F(KeyboardController, MissingMouseAnswersWithTimeout) {
  command(0xd4);
  send(0xf2);
  EXPECT_EQ(status() & 0x61, 0x61);
  EXPECT_EQ(data(), 0xfe);
}

TEST_F(KeyboardController, PulseFeResets) {
  command(0xfe);
  EXPECT_EQ(machine_.reason(), StopReason::kReset);
}

TEST_F(KeyboardController, PulseFfDoesNothing) {
  command(0xff);
  EXPECT_EQ(machine_.reason(), std::nullopt);
}

TEST_F(KeyboardController, OutputPortControlsA20AndReset) {
  command(0xd0);
  EXPECT_EQ(data(), 0x03);
  command(0xd1);
  send(0x01);
  command(0xd0);
  EXPECT_EQ(data(), 0x01);
  command(0xd1);
  send(0x02);
  EXPECT_EQ(machine_.reason(), StopReason::kReset);
}

TEST_F(KeyboardController, UnreadAnswersAreBounded) {
  std::ranges::for_each(std::string(100, ' '), [&](char) { command(0xaa); });
  std::ranges::for_each(std::string(8, ' '), [&](char) { data(); });
  EXPECT_EQ(status() & 1, 0);
}

}  // namespace
}  // namespace doppel
