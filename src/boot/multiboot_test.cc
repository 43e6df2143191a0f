// Tests Multiboot kernels with addresses in the header and as ELF.
#include "boot/multiboot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/test_image.h"

namespace doppel {
namespace {

using test::ImageBuilder;
using test::TestGuest;
using testing::HasSubstr;

constexpr u32 kLoad = 0x200000;
constexpr u64 kHeaderOffset = 0x40;
constexpr u32 kHeaderMagic = 0x1badb002;

// Offsets in the information structure.
constexpr u64 kLower = 4;
constexpr u64 kUpper = 8;
constexpr u64 kCommandLine = 16;
constexpr u64 kModuleCount = 20;
constexpr u64 kModules = 24;
constexpr u64 kMapLength = 44;
constexpr u64 kMap = 48;
constexpr u64 kLoaderName = 64;

ImageBuilder with_header(ImageBuilder builder, u32 flags) {
  return builder.put(kHeaderOffset, kHeaderMagic)
      .put(kHeaderOffset + 4, flags)
      .put(kHeaderOffset + 8, static_cast<u32>(0 - kHeaderMagic - flags));
}

// A kernel of 0x100 bytes, all in the file, whose header gives addresses.
ImageBuilder address_kernel() {
  return with_header(ImageBuilder(), 0x10003)
      .put(kHeaderOffset + 12, u32{kLoad + kHeaderOffset})
      .put(kHeaderOffset + 16, kLoad)
      .put(kHeaderOffset + 20, u32{kLoad + 0x100})
      .put(kHeaderOffset + 24, u32{kLoad + 0x1000})
      .put(kHeaderOffset + 28, u32{kLoad + 0x80})
      .put_text(0x80, test::kTestCode)
      .put(0xff, u8{0xee});
}

TEST(Multiboot, EntersInProtectedModeWithMagicAndInformation) {
  TestGuest guest;

  const auto state = guest.load(address_kernel().take());

  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, kLoad + 0x80);
  EXPECT_EQ(state->gpr[x86::kRax], 0x2badb002u);
  EXPECT_EQ(state->cr0, x86::kCr0Pe | x86::kCr0Et);
  EXPECT_EQ(state->segment(x86::kCs).attributes, 0xc09b);
  EXPECT_EQ(guest.text(kLoad + 0x80, test::kTestCode.size()), test::kTestCode);
  EXPECT_EQ(guest.value<u8>(kLoad + 0xff), 0xee);
}

TEST(Multiboot, InformationDescribesTheMachine) {
  TestGuest guest;

  const auto state = guest.load(address_kernel().take());

  ASSERT_TRUE(state);
  const u64 info = state->gpr[x86::kRbx];
  EXPECT_EQ(guest.value<u32>(info), 0x24du);
  EXPECT_EQ(guest.value<u32>(info + kLower), 639u);
  EXPECT_EQ(guest.value<u32>(info + kUpper), 15 * 1024u - 256);
  EXPECT_EQ(guest.string(guest.value<u32>(info + kCommandLine)), "kernel console=ttyS0");
  EXPECT_EQ(guest.string(guest.value<u32>(info + kLoaderName)), "doppel");
  EXPECT_EQ(guest.value<u32>(info + kMapLength), 24 * guest.tables.e820.size());
  EXPECT_EQ(guest.value<u32>(guest.value<u32>(info + kMap)), 20u);
  EXPECT_EQ(guest.value<u64>(guest.value<u32>(info + kMap) + 24 + 4), kEbdaStart);
}

TEST(Multiboot, ModulesArePageAlignedAndListed) {
  TestGuest guest;
  guest.initrd.assign(5000, 0x11);
  guest.module.assign(100, 0x22);

  const auto state = guest.load(address_kernel().take());

  ASSERT_TRUE(state);
  const u64 info = state->gpr[x86::kRbx];
  ASSERT_EQ(guest.value<u32>(info + kModuleCount), 2u);
  const u64 list = guest.value<u32>(info + kModules);
  EXPECT_EQ(guest.value<u32>(list), 0x100000u);
  EXPECT_EQ(guest.value<u32>(list + 4), 0x100000u + 5000);
  EXPECT_EQ(guest.value<u32>(list + 16), 0x102000u);
  EXPECT_EQ(guest.value<u8>(0x102000 + 99), 0x22);
  EXPECT_EQ(guest.string(guest.value<u32>(list + 16 + 8)), "test one two");
}

TEST(Multiboot, ElfKernelIsEnteredAtItsPhysicalEntry) {
  TestGuest guest;
  const auto elf = test::make_elf64(false);
  const auto image =
      ImageBuilder().put_bytes(0, elf).put(0x900, kHeaderMagic).put(0x908, 0 - kHeaderMagic).take();

  const auto state = guest.load(image);

  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, test::kTestEntry);
  EXPECT_EQ(state->gpr[x86::kRax], 0x2badb002u);
}

TEST(Multiboot, HeaderBehind8KiBIsNotFound) {
  std::vector<u8> image(kHeaderOffset);
  EXPECT_EQ(find_multiboot_header({"x", address_kernel().take()}), kHeaderOffset);
  const auto late = ImageBuilder().put_bytes(8 * kKiB - kHeaderOffset - 8, address_kernel().take()).take();
  EXPECT_EQ(find_multiboot_header({"x", late}), std::nullopt);
}

TEST(Multiboot, WrongChecksumIsNoHeader) {
  const auto image = address_kernel().put(kHeaderOffset + 8, u32{1}).take();
  EXPECT_EQ(find_multiboot_header({"x", image}), std::nullopt);
  EXPECT_THAT(TestGuest().error(image, BootProtocol::kMultiboot), HasSubstr("no Multiboot header"));
}

TEST(Multiboot, UnknownRequirementsAreRefused) {
  EXPECT_THAT(TestGuest().error(with_header(address_kernel(), 0x10008).take()),
              HasSubstr("requires features 0x8"));
}

TEST(Multiboot, NeitherElfNorAddressesIsRefused) {
  EXPECT_THAT(TestGuest().error(with_header(address_kernel(), 3).take()), HasSubstr("neither ELF"));
}

TEST(Multiboot, AddressesThatDoNotFitTheFileAreRefused) {
  TestGuest guest;
  EXPECT_THAT(guest.error(address_kernel().put(kHeaderOffset + 16, u32{0x300000}).take()),
              HasSubstr("does not fit"));
  EXPECT_THAT(guest.error(address_kernel().put(kHeaderOffset + 16, u32{0}).take()),
              HasSubstr("does not fit"));
  EXPECT_THAT(guest.error(address_kernel().put(kHeaderOffset + 20, u32{kLoad + 0x101}).take()),
              HasSubstr("truncated"));
  EXPECT_THAT(guest.error(address_kernel().put(kHeaderOffset + 20, u32{kLoad - 1}).take()),
              HasSubstr("truncated"));
  EXPECT_THAT(guest.error(address_kernel().put(kHeaderOffset + 28, u32{kLoad + 0x100}).take()),
              HasSubstr("entry 0x200100 does not lie"));
  EXPECT_THAT(guest.error(address_kernel().put(kHeaderOffset + 24, ~u32{0}).take()),
              HasSubstr("more memory"));
}

}  // namespace
}  // namespace doppel
