// Modem control, modem status and loopback of the 16550A.
#include <gtest/gtest.h>

#include "devices/uart16550_fixture.h"

namespace doppel {
namespace {

TEST_F(Uart, LoopbackWiresModemControlToStatus) {
  out(kMcr, 0x10 | 0x0a);  // RTS and OUT2
  EXPECT_EQ(in(kMsr) & 0xf0, 0x90);
  out(kMcr, 0x10 | 0x05);  // DTR and OUT1
  EXPECT_EQ(in(kMsr) & 0xf0, 0x60);
}

TEST_F(Uart, OutsideLoopbackTheTerminalIsReady) { EXPECT_EQ(in(kMsr), 0xb0); }

TEST_F(Uart, ModemStatusCountsChangesUntilRead) {
  out(kMcr, 0x10);
  in(kMsr);
  out(kMcr, 0x12);
  EXPECT_EQ(in(kMsr), 0x11);
  EXPECT_EQ(in(kMsr), 0x10);
}

TEST_F(Uart, RingReportsItsTrailingEdgeOnly) {
  out(kMcr, 0x10);
  in(kMsr);
  out(kMcr, 0x14);
  EXPECT_EQ(in(kMsr), 0x40);
  out(kMcr, 0x10);
  EXPECT_EQ(in(kMsr), 0x04);
}

TEST_F(Uart, ModemStatusInterruptHasLowestPriority) {
  out(kIer, 0x0a);
  out(kMcr, 0x10);
  EXPECT_EQ(in(kIir), 0x02);
  EXPECT_EQ(in(kIir), 0x00);
  in(kMsr);
  EXPECT_EQ(in(kIir), 0x01);
}

TEST_F(Uart, LoopbackReturnsCharactersAndPrintsNothing) {
  out(kMcr, 0x10);
  out(kData, 'q');
  EXPECT_EQ(in(kData), 'q');
  EXPECT_EQ(sink_.text(), "");
}

TEST_F(Uart, LoopbackOverrunWithoutFifoKeepsTheLast) {
  out(kMcr, 0x10);
  out(kData, 'a');
  out(kData, 'b');
  EXPECT_EQ(in(kLsr), 0x63);
  EXPECT_EQ(in(kLsr), 0x61);
  EXPECT_EQ(in(kData), 'b');
}

TEST_F(Uart, LoopbackOverrunWithFifoKeepsTheFirstSixteen) {
  out(kFcr, 0x01);
  out(kMcr, 0x10);
  const std::string text = "0123456789abcdefX";
  write_to(uart_, kData, '?');
  in(kData);
  std::ranges::for_each(text, [&](char letter) { out(kData, static_cast<u8>(letter)); });
  EXPECT_EQ(in(kLsr) & 0x02, 0x02);
  EXPECT_EQ(in(kData), '0');
}

TEST_F(Uart, LoopbackHoldsBackConsoleInput) {
  unsigned calls = 0;
  uart_.on_input_space([&] { ++calls; });
  out(kMcr, 0x10);
  EXPECT_EQ(type("a"), 0u);
  out(kMcr, 0x00);
  EXPECT_EQ(calls, 1u);
}

}  // namespace
}  // namespace doppel
