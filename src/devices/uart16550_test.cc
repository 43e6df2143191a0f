// The 16550A as drivers see it: identification, FIFOs, interrupts.
#include <gtest/gtest.h>

#include "devices/uart16550_fixture.h"
#include "state/state_buffer.h"

namespace doppel {
namespace {

using namespace std::chrono_literals;

TEST_F(Uart, PrintsWrittenCharacters) {
  out(kData, 'h');
  out(kData, 'i');
  EXPECT_EQ(sink_.text(), "hi");
  EXPECT_EQ(in(kLsr), 0x60);
}

TEST_F(Uart, KeepsScratchRegister) {
  out(kScr, 0xa5);
  EXPECT_EQ(in(kScr), 0xa5);
}

TEST_F(Uart, ImplementsFourInterruptEnables) {
  out(kIer, 0xff);
  EXPECT_EQ(in(kIer), 0x0f);
}

TEST_F(Uart, ShowsDivisorUnderLatchBit) {
  out(kLcr, 0x83);
  out(kData, 0x0c);
  out(kIer, 0x01);
  EXPECT_EQ(in(kData), 0x0c);
  EXPECT_EQ(in(kIer), 0x01);
  out(kLcr, 0x03);
  EXPECT_EQ(in(kIer), 0x00);
  EXPECT_EQ(sink_.text(), "");
}

TEST_F(Uart, SixteenBitWriteReachesBothRegisters) {
  out(kLcr, 0x80);
  write_to(uart_, 0, 0x1234, 2);
  EXPECT_EQ(read_from(uart_, 0, 2), 0x1234u);
}

TEST_F(Uart, IdentifiesAs16550A) {
  EXPECT_EQ(in(kIir), 0x01);
  out(kFcr, 0x01);
  EXPECT_EQ(in(kIir), 0xc1);
}

TEST_F(Uart, DoesNotIdentifyAs16750) {
  out(kLcr, 0x80);
  out(kFcr, 0x21);
  EXPECT_EQ(in(kIir), 0xc1);
}

TEST_F(Uart, FifoControlNeedsItsEnableBit) {
  out(kFcr, 0x01);
  ASSERT_EQ(type("abc"), 3u);
  out(kFcr, 0x01);
  EXPECT_EQ(in(kData), 'a');
  out(kFcr, 0x00);
  EXPECT_EQ(in(kLsr) & 1, 0);
  EXPECT_EQ(in(kIir), 0x01);
}

TEST_F(Uart, FifoResetDropsInput) {
  out(kFcr, 0x01);
  type("abc");
  out(kFcr, 0x03);
  EXPECT_EQ(in(kLsr) & 1, 0);
}

TEST_F(Uart, EnablingTransmitInterruptRaisesItEachTime) {
  enable(0x02, 0x01);
  EXPECT_TRUE(line_.is_high());
  EXPECT_EQ(in(kIir), 0xc2);
  EXPECT_FALSE(line_.is_high());
  EXPECT_EQ(in(kIir), 0xc1);
  out(kIer, 0x02);  // no change, no interrupt
  EXPECT_FALSE(line_.is_high());
  out(kIer, 0x00);
  out(kIer, 0x02);
  EXPECT_TRUE(line_.is_high());
}

TEST_F(Uart, EveryTransmittedCharacterGivesAnEdge) {
  enable(0x02, 0x01);
  out(kData, 'a');
  out(kData, 'b');
  EXPECT_EQ(line_.edges(), 3u);
}

TEST_F(Uart, IdentificationKeepsTransmitInterruptBehindHigherOnes) {
  enable(0x03, 0x00);
  type("x");
  EXPECT_EQ(in(kIir), 0x04);
  in(kData);
  EXPECT_EQ(in(kIir), 0x02);
  EXPECT_EQ(in(kIir), 0x01);
}

TEST_F(Uart, Out2GatesTheInterrupt) {
  out(kIer, 0x02);
  EXPECT_FALSE(line_.is_high());
  EXPECT_EQ(in(kMcr), 0x00);
  out(kMcr, kOut2);
  EXPECT_TRUE(line_.is_high());
}

TEST_F(Uart, WithoutFifoOneCharacterFits) {
  EXPECT_EQ(type("ab"), 1u);
  EXPECT_EQ(in(kData), 'a');
  pass(250us);
  EXPECT_EQ(type("b"), 1u);
  EXPECT_EQ(in(kData), 'b');
}

TEST_F(Uart, FifoHoldsSixteenCharactersInOrder) {
  out(kFcr, 0x01);
  EXPECT_EQ(type("0123456789abcdefghij"), 16u);
  EXPECT_EQ(in(kData), '0');
  EXPECT_EQ(in(kData), '1');
  pass(250us);
  EXPECT_EQ(type("gh"), 2u);
  EXPECT_EQ(in(kData), '2');
}

TEST_F(Uart, CallsBackWhenRefusedInputFits) {
  unsigned calls = 0;
  uart_.on_input_space([&] { ++calls; });
  type("a");
  EXPECT_EQ(type("b"), 0u);
  EXPECT_EQ(calls, 0u);
  in(kData);
  EXPECT_EQ(calls, 1u);
  in(kData);
  EXPECT_EQ(calls, 1u);
}

TEST_F(Uart, TakesNoMoreForAWhileWhenTheSenderHasMore) {
  unsigned calls = 0;
  uart_.on_input_space([&] { ++calls; });
  EXPECT_EQ(type("ab"), 1u);
  in(kData);
  EXPECT_EQ(calls, 0u);
  pass(249us);
  EXPECT_EQ(type("b"), 0u);
  pass(1us);
  EXPECT_EQ(calls, 1u);
  EXPECT_EQ(type("b"), 1u);
}

TEST_F(Uart, CallbackMayPushInput) {
  out(kFcr, 0x01);
  uart_.on_input_space([&] { type("!"); });
  type("0123456789abcdefg");
  in(kData);
  EXPECT_EQ(uart_.receive(u8{'x'}), false);
}

TEST_F(Uart, ReceivedInterruptWaitsForTriggerLevel) {
  enable(0x01, 0x41);  // four characters
  type("abc");
  EXPECT_FALSE(line_.is_high());
  type("d");
  EXPECT_TRUE(line_.is_high());
  EXPECT_EQ(in(kIir), 0xc4);
  in(kData);
  EXPECT_FALSE(line_.is_high());
}

TEST_F(Uart, FewCharactersTimeOutAfterFourCharacterTimes) {
  set_fastest_line();
  enable(0x01, 0x81);
  type("a");
  inputs_.advance(timers_, 347us);
  EXPECT_FALSE(line_.is_high());
  inputs_.advance(timers_, 1us);
  EXPECT_TRUE(line_.is_high());
  EXPECT_EQ(in(kIir), 0xcc);
  EXPECT_EQ(in(kData), 'a');
  EXPECT_EQ(in(kIir), 0xc1);
}

TEST_F(Uart, ArrivalRestartsTheTimeout) {
  set_fastest_line();
  enable(0x01, 0x81);
  type("a");
  inputs_.advance(timers_, 300us);
  type("b");
  inputs_.advance(timers_, 300us);
  EXPECT_FALSE(line_.is_high());
  inputs_.advance(timers_, 100us);
  EXPECT_TRUE(line_.is_high());
}

TEST_F(Uart, TimeoutReturnsForWhatIsLeft) {
  set_fastest_line();
  enable(0x01, 0x81);
  type("ab");
  inputs_.advance(timers_, 400us);
  in(kData);
  EXPECT_FALSE(line_.is_high());
  inputs_.advance(timers_, 400us);
  EXPECT_TRUE(line_.is_high());
}

TEST_F(Uart, FifoResetEndsTheTimeout) {
  set_fastest_line();
  enable(0x01, 0x81);
  type("ab");
  inputs_.advance(timers_, 400us);
  ASSERT_TRUE(line_.is_high());
  out(kFcr, 0x83);
  EXPECT_FALSE(line_.is_high());
  type("c");
  EXPECT_FALSE(line_.is_high());
}

TEST_F(Uart, ResetCancelsTheTimeout) {
  set_fastest_line();
  enable(0x01, 0x81);
  type("a");
  uart_.reset();
  EXPECT_EQ(timers_.next_deadline(), Timer::kNever);
}

TEST_F(Uart, TimeoutSurvivesSaveAndLoad) {
  set_fastest_line();
  enable(0x01, 0x81);
  type("a");
  inputs_.advance(timers_, 300us);
  StateSaver saver;
  uart_.visit_state(saver);
  const std::vector<u8> state = saver.take();
  uart_.reset();
  StateLoader loader(state);
  uart_.visit_state(loader);
  ASSERT_TRUE(loader.finish());
  EXPECT_FALSE(line_.is_high());
  inputs_.advance(timers_, 48us);
  EXPECT_TRUE(line_.is_high());
}

TEST_F(Uart, NoTimeoutWithoutFifo) {
  enable(0x01, 0x00);
  type("a");
  in(kData);
  EXPECT_EQ(timers_.next_deadline(), Timer::kNever);
}

TEST_F(Uart, BreakIsAZeroCharacterWithItsBit) {
  enable(0x04, 0x01);
  EXPECT_TRUE(uart_.receive_break());
  EXPECT_EQ(in(kIir), 0xc6);
  EXPECT_EQ(in(kLsr), 0xf1);
  EXPECT_EQ(in(kLsr), 0x61);
  EXPECT_EQ(in(kData), 0x00);
  EXPECT_FALSE(line_.is_high());
}

TEST_F(Uart, BreakShowsWhenItReachesTheTop) {
  out(kFcr, 0x01);
  type("a");
  uart_.receive_break();
  EXPECT_EQ(in(kLsr), 0xe1);  // an error somewhere in the FIFO
  in(kData);
  EXPECT_EQ(in(kLsr), 0xf1);
}

TEST_F(Uart, ResetLowersTheLine) {
  enable(0x02, 0x01);
  ASSERT_TRUE(line_.is_high());
  uart_.reset();
  EXPECT_FALSE(line_.is_high());
  EXPECT_EQ(in(kIer), 0x00);
}

}  // namespace
}  // namespace doppel
