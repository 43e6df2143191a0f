// Tests the setup header's validation and the three ways into a Linux kernel.
#include "boot/bzimage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/test_image.h"
#include "boot/test_pack.h"

namespace doppel {
namespace {

using test::ImageBuilder;
using test::TestGuest;
using testing::HasSubstr;

constexpr u64 kPreferred = 0x400000;

template <class T>
std::vector<u8> changed(std::vector<u8> image, u64 offset, T value) {
  return ImageBuilder().put_bytes(0, image).put(offset, value).take();
}

std::vector<u8> plain_kernel() {
  const std::vector<u8> code(0x1000, 0x90);
  return test::make_bzimage(code);
}

std::vector<u8> packed_kernel(std::vector<u8> (*pack)(std::span<const u8>), bool has_note) {
  return test::make_bzimage(pack(test::make_elf64(has_note)));
}

TEST(BzImage, PayloadWithPvhEntryIsEnteredThere) {
  TestGuest guest;

  const auto state = guest.load(packed_kernel(test::pack_gzip, true));

  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, test::kTestEntry);
  EXPECT_EQ(guest.value<u32>(state->gpr[x86::kRbx]), 0x336ec578u);
  EXPECT_EQ(guest.text(test::kTestLoadAddress, test::kTestCode.size()), test::kTestCode);
}

TEST(BzImage, EveryPayloadFormatWorks) {
  EXPECT_EQ(TestGuest().error(packed_kernel(test::pack_lz4, true), BootProtocol::kPvh), "");
  EXPECT_EQ(TestGuest().error(packed_kernel(test::pack_zstd, true), BootProtocol::kPvh), "");
  EXPECT_EQ(TestGuest().error(packed_kernel(test::pack_xz, true), BootProtocol::kPvh), "");
  EXPECT_EQ(TestGuest().error(packed_kernel(test::pack_lzma, true), BootProtocol::kPvh), "");
  EXPECT_EQ(TestGuest().error(test::make_bzimage(test::make_elf64(true)), BootProtocol::kPvh), "");
}

TEST(BzImage, UnpackingLeavesNothingBehindInRam) {
  TestGuest guest;
  ASSERT_TRUE(guest.load(packed_kernel(test::pack_gzip, false)));
  const std::vector<u8> zeros(4 * kMiB);
  EXPECT_EQ(std::memcmp(guest.memory->host(GuestPhys(12 * kMiB)), zeros.data(), 3 * kMiB), 0);
}

TEST(BzImage, UnpacksWhereTheGuestHasNoRoomBesideTheKernel) {
  TestGuest guest;
  const auto image = changed(packed_kernel(test::pack_gzip, true), 0x260, u32{16 * kMiB});
  const auto state = guest.load(image);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, test::kTestEntry);
}

TEST(BzImage, PayloadLargerThanMemoryIsRefused) {
  auto payload = test::pack_gzip(test::make_elf64(true));
  payload[payload.size() - 1] = 1;  // announces 16 MiB more
  EXPECT_THAT(TestGuest().error(test::make_bzimage(payload)), HasSubstr("unpacks to 16 MiB, more than fit"));
}

TEST(BzImage, WithoutPvhEntryUsesThe64BitEntry) {
  TestGuest guest;

  const auto state = guest.load(packed_kernel(test::pack_gzip, false));

  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, kPreferred + 0x200);
  EXPECT_EQ(state->cr0, x86::kCr0Pe | x86::kCr0Et | x86::kCr0Pg);
  EXPECT_EQ(state->cr4, x86::kCr4Pae);
  EXPECT_EQ(state->efer, x86::kEferLme | x86::kEferLma);
  EXPECT_EQ(state->segment(x86::kCs).selector, 0x10);
  EXPECT_EQ(state->segment(x86::kCs).attributes, 0xa09b);
  EXPECT_EQ(state->segment(x86::kDs).selector, 0x18);
}

TEST(BzImage, PageTablesMapMemoryToItself) {
  TestGuest guest;

  const auto state = guest.load(plain_kernel());

  ASSERT_TRUE(state);
  const u64 pointers = guest.value<u64>(state->cr3) & ~u64{0xfff};
  EXPECT_EQ(guest.value<u64>(state->cr3) & 0xfff, 3u);
  const u64 last_directory = guest.value<u64>(pointers + 3 * 8) & ~u64{0xfff};
  EXPECT_EQ(guest.value<u64>(last_directory + 511 * 8), 0xffe00083u);
  EXPECT_EQ(guest.value<u64>(pointers + 4 * 8), 0u);
}

TEST(BzImage, ZeroPageDescribesTheMachine) {
  TestGuest guest;
  guest.initrd.assign(5000, 0x11);

  const auto state = guest.load(plain_kernel());

  ASSERT_TRUE(state);
  const u64 page = state->gpr[x86::kRsi];
  EXPECT_EQ(guest.text(page + 0x202, 4), "HdrS");
  EXPECT_EQ(guest.value<u8>(page + 0x210), 0xff);
  EXPECT_EQ(guest.value<u32>(page + 0x214), kPreferred);
  EXPECT_EQ(guest.value<u32>(page + 0x218), acpi_area_start(*guest.memory).value() - 0x2000);
  EXPECT_EQ(guest.value<u32>(page + 0x21c), 5000u);
  EXPECT_EQ(guest.string(guest.value<u32>(page + 0x228)), "console=ttyS0");
  EXPECT_EQ(guest.value<u64>(page + 0x70), 0xe0000u);
  EXPECT_EQ(guest.value<u8>(page + 0x1e8), guest.tables.e820.size());
  EXPECT_EQ(guest.value<u64>(page + 0x2d0 + 8), kEbdaStart);
}

TEST(BzImage, Without64BitEntryUsesThe32BitEntry) {
  TestGuest guest;

  const auto state = guest.load(changed(plain_kernel(), test::kTestXLoadFlags, u16{4}));

  ASSERT_TRUE(state);
  EXPECT_EQ(state->rip, kPreferred);
  EXPECT_EQ(state->cr0, x86::kCr0Pe | x86::kCr0Et);
  EXPECT_EQ(state->segment(x86::kCs).selector, 0x10);
  EXPECT_EQ(state->segment(x86::kCs).attributes, 0xc09b);
  EXPECT_EQ(guest.text(state->gpr[x86::kRsi] + 0x202, 4), "HdrS");
  EXPECT_EQ(state->gpr[x86::kRbx], 0u);
}

TEST(BzImage, ProtocolOverrideIsObeyed) {
  TestGuest guest;
  const auto state = guest.load(packed_kernel(test::pack_gzip, true), BootProtocol::kLinux32);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->rip, kPreferred);
}

TEST(BzImage, OverrideThatTheKernelLacksIsRefused) {
  TestGuest guest;
  EXPECT_THAT(guest.error(packed_kernel(test::pack_gzip, false), BootProtocol::kPvh),
              HasSubstr("no PVH entry"));
  EXPECT_THAT(guest.error(changed(plain_kernel(), test::kTestXLoadFlags, u16{0}), BootProtocol::kLinux64),
              HasSubstr("no 64-bit entry"));
}

TEST(BzImage, RelocatableKernelMovesWhenMemoryIsSmall) {
  TestGuest guest(4 * kMiB);
  const auto state = guest.load(plain_kernel());
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, 0x200000u + 0x200);
}

TEST(BzImage, KernelThatCannotMoveNeedsItsAddress) {
  TestGuest guest(4 * kMiB);
  auto image = changed(plain_kernel(), 0x234, u8{0});
  EXPECT_EQ(guest.load(image)->rip, 0x100000u + 0x200);
  image = changed(image, 0x214, u32{0x400000});
  EXPECT_THAT(guest.error(image), HasSubstr("4 MiB of guest memory"));
}

TEST(BzImage, KernelThatCannotMoveNeedsNoAlignment) {
  TestGuest guest;
  const auto image = changed(plain_kernel(), 0x234, u8{0});
  EXPECT_EQ(guest.error(changed(image, 0x230, u32{0})), "");
}

TEST(BzImage, InitrdStaysBelowItsLimit) {
  TestGuest guest;
  guest.initrd.assign(100, 0x11);
  const auto state = guest.load(changed(plain_kernel(), test::kTestInitrdMax, u32{0x7fffff}));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.value<u32>(state->gpr[x86::kRsi] + 0x218), 0x7ff000u);
}

TEST(BzImage, InitrdLargerThanMemoryIsRefused) {
  TestGuest guest;
  guest.initrd.assign(16 * kMiB, 0);
  EXPECT_THAT(guest.error(plain_kernel()), HasSubstr("initrd 'test': 16384 KiB do not fit"));
  EXPECT_THAT(guest.error(packed_kernel(test::pack_gzip, true)),
              HasSubstr("initrd 'test': 16384 KiB do not fit"));
}

TEST(BzImage, TooLongCommandLineIsRefused) {
  TestGuest guest;
  guest.command_line.assign(255, 'x');
  EXPECT_EQ(guest.error(plain_kernel()), "");
  guest.command_line.assign(256, 'x');
  EXPECT_THAT(guest.error(plain_kernel()), HasSubstr("256 bytes; this kernel takes at most 255"));
}

TEST(BzImage, ModulesAreRefused) {
  TestGuest guest;
  guest.module.assign(10, 0);
  EXPECT_THAT(guest.error(plain_kernel()), HasSubstr("not modules"));
}

TEST(BzImage, OldProtocolIsRefused) {
  TestGuest guest;
  EXPECT_THAT(guest.error(changed(plain_kernel(), test::kTestVersion, u16{0x205})),
              HasSubstr("protocol 2.05"));
}

TEST(BzImage, TruncatedFilesAreRefused) {
  TestGuest guest;
  const auto image = plain_kernel();
  EXPECT_THAT(guest.error(std::span(image).first(0x220)), HasSubstr("truncated in its header"));
  EXPECT_THAT(guest.error(std::span(image).first(600)), HasSubstr("truncated in its header"));
  EXPECT_THAT(guest.error(std::span(image).first(700)), HasSubstr("truncated"));
  EXPECT_THAT(guest.error(std::span(image).first(4000)), HasSubstr("the file has 4000"));
}

TEST(BzImage, DamagedHeadersAreRefused) {
  TestGuest guest;
  EXPECT_THAT(guest.error(changed(plain_kernel(), test::kTestPayloadLength, u32{0x7fffffff})),
              HasSubstr("payload of 2147483647 bytes"));
  EXPECT_THAT(guest.error(changed(plain_kernel(), 0x230, u32{3})), HasSubstr("not a power of two"));
  EXPECT_THAT(guest.error(changed(plain_kernel(), 0x211, u8{0})), HasSubstr("zImage"));
  EXPECT_THAT(guest.error(changed(plain_kernel(), 0x260, u32{0xffffffff})), HasSubstr("needs 4096 MiB"));
}

TEST(BzImage, DamagedPayloadIsRefused) {
  TestGuest guest;
  const auto image = packed_kernel(test::pack_gzip, true);
  EXPECT_THAT(guest.error(changed(image, test::kTestSetupSize + 40, ~u64{0})), HasSubstr("damaged"));
}

}  // namespace
}  // namespace doppel
