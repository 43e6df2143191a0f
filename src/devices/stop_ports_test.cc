// The small ports: debug exit, panic, reset control, system control port A, POST code.
#include <gtest/gtest.h>

#include "devices/debug_exit.h"
#include "devices/device_fakes.h"
#include "devices/panic_port.h"
#include "devices/post_code.h"
#include "devices/reset_control.h"
#include "devices/system_control_a.h"

namespace doppel {
namespace {

TEST(DebugExit, ZeroGivesStatusOne) {
  FakeMachine machine;
  DebugExit exit(machine);
  write_to(exit, 0, 0, 4);
  EXPECT_EQ(machine.reason(), StopReason::kDebugExit);
  EXPECT_EQ(machine.status(), 1);
}

TEST(DebugExit, StatusIsTruncatedToEightBits) {
  FakeMachine machine;
  DebugExit exit(machine);
  write_to(exit, 0, 0x1a1, 4);
  EXPECT_EQ(machine.status(), 0x43);
}

TEST(PanicPort, ReportsBothEvents) {
  FakeMachine machine;
  PanicPort port(machine);
  EXPECT_EQ(read_from(port, 0), 3u);
}

TEST(PanicPort, PanicStopsTheMachine) {
  FakeMachine machine;
  PanicPort port(machine);
  write_to(port, 0, 1);
  EXPECT_EQ(machine.reason(), StopReason::kGuestPanic);
  EXPECT_EQ(machine.status(), 1);
}

TEST(PanicPort, CrashKernelKeepsTheMachineRunning) {
  FakeMachine machine;
  PanicPort port(machine);
  write_to(port, 0, 2);
  EXPECT_EQ(machine.reason(), std::nullopt);
}

TEST(ResetControl, HardResetStopsTheMachine) {
  FakeMachine machine;
  ResetControl control(machine);
  write_to(control, 1, 0x02);
  EXPECT_EQ(machine.reason(), std::nullopt);
  write_to(control, 1, 0x06);
  EXPECT_EQ(machine.reason(), StopReason::kReset);
  EXPECT_EQ(read_from(control, 1), 0x02u);
}

TEST(ResetControl, FullResetStopsTheMachine) {
  FakeMachine machine;
  ResetControl control(machine);
  write_to(control, 1, 0x0e);
  EXPECT_EQ(machine.reason(), StopReason::kReset);
}

TEST(ResetControl, WideWritesAreConfigurationAddresses) {
  FakeMachine machine;
  PostCode bridge;
  ResetControl control(machine, &bridge);
  write_to(control, 0, 0x80000600, 4);
  write_to(control, 0, 0x80000607, 4);
  EXPECT_EQ(machine.reason(), std::nullopt);
  EXPECT_EQ(read_from(control, 0, 4), 0x07u);
}

TEST(ResetControl, NobodyAnswersWithoutPci) {
  FakeMachine machine;
  ResetControl control(machine);
  write_to(control, 0, 0x80000000, 4);
  EXPECT_EQ(read_from(control, 0, 4), 0xffffffffu);
}

TEST(SystemControlA, FastResetStopsTheMachine) {
  FakeMachine machine;
  SystemControlA control(machine);
  EXPECT_EQ(read_from(control, 0), 0x02u);
  write_to(control, 0, 0x03);
  EXPECT_EQ(machine.reason(), StopReason::kReset);
}

TEST(SystemControlA, RemembersTheA20Gate) {
  FakeMachine machine;
  SystemControlA control(machine);
  write_to(control, 0, 0x00);
  EXPECT_EQ(read_from(control, 0), 0x00u);
  EXPECT_EQ(machine.reason(), std::nullopt);
}

TEST(PostCode, KeepsTheLastValue) {
  PostCode port;
  write_to(port, 0, 0x42);
  EXPECT_EQ(read_from(port, 0), 0x42u);
}

}  // namespace
}  // namespace doppel
