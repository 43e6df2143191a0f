// MSI-X and MSI: enabling, masking, pending bits, and what reaches the bus.
#include "bus/msix.h"

#include <gtest/gtest.h>

#include <random>

#include "bus/bus_fakes.h"
#include "bus/msi.h"

namespace doppel {
namespace {

using namespace bus_test;

constexpr PciIdentity kIdentity = {.vendor_id = 1, .device_id = 2, .has_interrupt_pin = true};
constexpr u64 kControl = 0x42;
constexpr u64 kPendingBits = 0x800;

// A bus master with three vectors.
struct Bench {
  PciFunction function{kIdentity};
  Msix msix{function, 1, 3};
  FakeLine line;
  FakeMessages messages;
  Bench() {
    function.connect({{}, &line, &messages});
    write_config(function, 0x04, 2, 0x0006);
  }
  void enable() { write_config(function, kControl, 2, 0x8000); }
  void set_vector(unsigned vector, u64 address, u32 data) {
    write(msix, 16 * vector, 8, address);
    write(msix, 16 * vector + 8, 4, data);
  }
  void mask(unsigned vector, bool is_masked) { write(msix, 16 * vector + 12, 4, is_masked ? 1 : 0); }
  std::size_t sent() const { return messages.sent.size(); }
};

TEST(Msix, DescribesItself) {
  Bench bench;
  EXPECT_EQ(read_config(bench.function, 0x40, 4), 0x00020011u);
  EXPECT_EQ(read_config(bench.function, 0x44, 4), 0x00000001u);
  EXPECT_EQ(read_config(bench.function, 0x48, 4), 0x00000801u);
  EXPECT_EQ(bench.function.bar(1).size, 0x1000u);
}

TEST(Msix, LargestTableGetsALargerBar) {
  PciFunction function(kIdentity);
  Msix msix(function, 1, 2048);
  EXPECT_EQ(function.bar(1).size, 0x10000u);
  EXPECT_EQ(read_config(function, 0x42, 2), 0x07ffu);
  EXPECT_EQ(read_config(function, 0x48, 4), 0x00008001u);
}

TEST(Msix, VectorsStartMasked) {
  Bench bench;
  EXPECT_EQ(read(bench.msix, 12, 4), 1u);
  EXPECT_EQ(read(bench.msix, 44, 4), 1u);
  EXPECT_EQ(read(bench.msix, 48, 8), 0u);
}

TEST(Msix, SendsTheMessageOfTheVector) {
  Bench bench;
  bench.enable();
  bench.set_vector(1, 0xfee01000, 0x4041);
  bench.mask(1, false);
  bench.msix.raise(1);
  ASSERT_EQ(bench.sent(), 1u);
  EXPECT_EQ(bench.messages.sent[0], (FakeMessages::Message{0xfee01000, 0x4041}));
}

TEST(Msix, DoesNothingWhileOff) {
  Bench bench;
  bench.mask(0, false);
  bench.msix.raise(0);
  bench.enable();
  EXPECT_EQ(bench.sent(), 0u);
}

TEST(Msix, IgnoresVectorsThatDoNotExist) {
  Bench bench;
  bench.enable();
  bench.msix.raise(3);
  bench.msix.raise(0xffff);
  EXPECT_EQ(bench.sent(), 0u);
}

TEST(Msix, MaskedVectorBecomesPendingAndIsSentOnUnmask) {
  Bench bench;
  bench.enable();
  bench.set_vector(2, 0xfee00000, 0x55);
  bench.msix.raise(2);
  bench.msix.raise(2);
  EXPECT_EQ(bench.sent(), 0u);
  EXPECT_EQ(read(bench.msix, kPendingBits, 8), 4u);
  bench.mask(2, false);
  EXPECT_EQ(bench.sent(), 1u);
  EXPECT_EQ(read(bench.msix, kPendingBits, 8), 0u);
}

TEST(Msix, FunctionMaskHoldsEverything) {
  Bench bench;
  write_config(bench.function, kControl, 2, 0xc000);
  bench.mask(0, false);
  bench.mask(1, false);
  bench.msix.raise(0);
  bench.msix.raise(1);
  EXPECT_EQ(bench.sent(), 0u);
  EXPECT_EQ(read(bench.msix, kPendingBits, 4), 3u);
  write_config(bench.function, kControl, 2, 0x8000);
  EXPECT_EQ(bench.sent(), 2u);
}

TEST(Msix, PendingBitsCannotBeWritten) {
  Bench bench;
  write(bench.msix, kPendingBits, 8, ~u64{0});
  EXPECT_EQ(read(bench.msix, kPendingBits, 8), 0u);
}

TEST(Msix, EntriesKeepExistingBitsOnly) {
  Bench bench;
  write(bench.msix, 0, 8, ~u64{0});
  write(bench.msix, 8, 8, ~u64{0});
  EXPECT_EQ(read(bench.msix, 0, 8), 0xfffffffffffffffcu);
  EXPECT_EQ(read(bench.msix, 8, 8), 0x00000001ffffffffu);
}

TEST(Msix, EnablingReleasesTheInterruptPin) {
  Bench bench;
  bench.function.set_interrupt(true);
  EXPECT_TRUE(bench.line.is_high);
  bench.enable();
  EXPECT_FALSE(bench.line.is_high);
}

TEST(Msix, StateSurvivesARoundTrip) {
  Bench bench;
  bench.enable();
  bench.set_vector(0, 0xfee00000, 0x77);
  bench.msix.raise(0);
  Bench copy;
  ASSERT_TRUE(load(copy.function, save(bench.function)));
  ASSERT_TRUE(load(copy.msix, save(bench.msix)));
  copy.mask(0, false);
  ASSERT_EQ(copy.sent(), 1u);
  EXPECT_EQ(copy.messages.sent[0].data, 0x77u);
}

TEST(Msix, ResetMasksAndForgets) {
  Bench bench;
  const std::vector<u8> made = save(bench.msix);
  bench.enable();
  bench.set_vector(0, 0xfee00000, 0x77);
  bench.msix.raise(0);
  bench.function.reset();
  bench.msix.reset();
  EXPECT_EQ(save(bench.msix), made);
  EXPECT_FALSE(bench.msix.is_enabled());
}

TEST(Msix, SurvivesRandomAccesses) {
  Bench bench;
  std::mt19937_64 random(3);
  for (int i = 0; i < 50'000; ++i) {
    const unsigned size = 1u << random() % 4;
    const u64 offset = random() % (0x1000 - size + 1);
    write(bench.msix, random() % 2 == 0 ? offset : offset % 48, size, random());
    read(bench.msix, offset, size);
    if (i % 7 == 0) write_config(bench.function, kControl, 2, random());
    bench.msix.raise(static_cast<u16>(random() % 5));
  }
  EXPECT_EQ(read(bench.msix, 48, 8), 0u);
  EXPECT_EQ(read(bench.msix, kPendingBits, 8) & ~u64{7}, 0u);
}

TEST(Msi, SendsItsMessageWhenEnabled) {
  PciFunction function(kIdentity);
  Msi msi(function);
  FakeMessages messages;
  function.connect({{}, nullptr, &messages});
  write_config(function, 0x04, 2, 0x0004);
  write_config(function, 0x44, 4, 0xfee00003);
  write_config(function, 0x4c, 2, 0x4099);
  msi.raise();
  EXPECT_TRUE(messages.sent.empty());
  write_config(function, 0x42, 2, 0xffff);
  EXPECT_EQ(read_config(function, 0x42, 2), 0x0081u);
  msi.raise();
  ASSERT_EQ(messages.sent.size(), 1u);
  EXPECT_EQ(messages.sent[0], (FakeMessages::Message{0xfee00000, 0x4099}));
}

}  // namespace
}  // namespace doppel
