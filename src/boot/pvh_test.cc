// Tests loading of ELF kernels and the PVH start info.
#include "boot/pvh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/test_image.h"

namespace doppel {
namespace {

using test::ImageBuilder;
using test::TestGuest;
using testing::HasSubstr;

// Offsets in hvm_start_info, and in the ELF file of make_elf64().
constexpr u64 kModuleCount = 12;
constexpr u64 kModules = 16;
constexpr u64 kCommandLine = 24;
constexpr u64 kRsdp = 32;
constexpr u64 kMemoryMap = 40;
constexpr u64 kMemoryMapEntries = 48;
constexpr u64 kCodeHeader = sizeof(Elf64_Ehdr);

template <class T>
std::vector<u8> changed(std::vector<u8> image, u64 offset, T value) {
  return ImageBuilder().put_bytes(0, image).put(offset, value).take();
}

TEST(Pvh, EntersIn32BitProtectedModeWithStartInfo) {
  TestGuest guest;

  const auto state = guest.load(test::make_elf64(true));

  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, test::kTestEntry);
  EXPECT_EQ(state->cr0, x86::kCr0Pe | x86::kCr0Et);
  EXPECT_EQ(state->cr4, 0u);
  EXPECT_EQ(state->efer, 0u);
  EXPECT_EQ(state->rflags, x86::kFlagReserved1);
  EXPECT_EQ(guest.value<u32>(state->gpr[x86::kRbx]), 0x336ec578u);
  EXPECT_EQ(guest.value<u32>(state->gpr[x86::kRbx] + 4), 1u);
}

TEST(Pvh, SegmentsAreFlat) {
  TestGuest guest;
  const auto state = guest.load(test::make_elf64(true));
  ASSERT_TRUE(state);
  EXPECT_EQ(state->segment(x86::kCs).attributes, 0xc09b);
  EXPECT_EQ(state->segment(x86::kCs).limit, 0xffffffffu);
  EXPECT_EQ(state->segment(x86::kDs).attributes, 0xc093);
  EXPECT_EQ(state->segment(x86::kSs).limit, 0xffffffffu);
  EXPECT_EQ(state->tr.attributes, 0x8b);
  EXPECT_EQ(state->tr.limit, 0x67u);
}

TEST(Pvh, DescriptorTableMatchesTheSegments) {
  TestGuest guest;
  const auto state = guest.load(test::make_elf64(true));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.value<u64>(state->gdtr.base + state->segment(x86::kCs).selector), 0x00cf9b000000ffffu);
  EXPECT_EQ(guest.value<u64>(state->gdtr.base + state->segment(x86::kDs).selector), 0x00cf93000000ffffu);
}

TEST(Pvh, CopiesSegmentsAndClearsTheirRest) {
  TestGuest guest;
  guest.memory->write_value(GuestPhys(test::kTestLoadAddress + 0x1ff8), ~u64{0});

  ASSERT_TRUE(guest.load(test::make_elf64(true)));

  EXPECT_EQ(guest.text(test::kTestLoadAddress, test::kTestCode.size()), test::kTestCode);
  EXPECT_EQ(guest.value<u64>(test::kTestLoadAddress + 0x1ff8), 0u);
}

TEST(Pvh, StartInfoHasCommandLineRsdpAndMemoryMap) {
  TestGuest guest;

  const auto state = guest.load(test::make_elf64(true));

  ASSERT_TRUE(state);
  const u64 info = state->gpr[x86::kRbx];
  EXPECT_EQ(guest.string(guest.value<u64>(info + kCommandLine)), "console=ttyS0");
  EXPECT_EQ(guest.value<u64>(info + kRsdp), 0xe0000u);
  EXPECT_EQ(guest.value<u32>(info + kMemoryMapEntries), guest.tables.e820.size());
  EXPECT_EQ(guest.value<u64>(guest.value<u64>(info + kMemoryMap) + 8),
            kEbdaStart);  // size of the first entry
  EXPECT_EQ(guest.value<u32>(info + kModuleCount), 0u);
  EXPECT_EQ(guest.value<u64>(info + kModules), 0u);
}

TEST(Pvh, InitrdAndModulesAreListed) {
  TestGuest guest;
  guest.initrd.assign(5000, 0x11);
  guest.module.assign(100, 0x22);

  const auto state = guest.load(test::make_elf64(true));

  ASSERT_TRUE(state);
  const u64 info = state->gpr[x86::kRbx];
  ASSERT_EQ(guest.value<u32>(info + kModuleCount), 2u);
  const u64 list = guest.value<u64>(info + kModules);
  EXPECT_EQ(guest.value<u64>(list), acpi_area_start(*guest.memory).value() - 0x2000);
  EXPECT_EQ(guest.value<u64>(list + 8), 5000u);
  EXPECT_EQ(guest.value<u8>(guest.value<u64>(list) + 4999), 0x11);
  EXPECT_EQ(guest.value<u64>(list + 32 + 8), 100u);
  EXPECT_EQ(guest.string(guest.value<u64>(list + 32 + 16)), "test one two");
}

TEST(Pvh, EntryOutsideTheKernelIsRefused) {
  TestGuest guest;
  EXPECT_THAT(guest.error(changed(test::make_elf64(true), 0x810, u64{0x100000})), HasSubstr("PVH entry"));
}

TEST(Elf, WithoutAnyEntryNamesTheRemedy) {
  TestGuest guest;
  EXPECT_THAT(guest.error(test::make_elf64(false)), HasSubstr("CONFIG_PVH"));
  EXPECT_THAT(guest.error(test::make_elf64(false), BootProtocol::kPvh), HasSubstr("CONFIG_PVH"));
}

TEST(Elf, ForAnotherMachineIsNamed) {
  TestGuest guest;
  const auto arm = changed(test::make_elf64(true), offsetof(Elf64_Ehdr, e_machine), u16{EM_AARCH64});
  EXPECT_THAT(guest.error(arm), HasSubstr("ELF file for aarch64"));
  const auto big = changed(test::make_elf64(true), EI_DATA, u8{ELFDATA2MSB});
  EXPECT_THAT(guest.error(big), HasSubstr("not little-endian"));
}

TEST(Elf, RelocatableObjectIsRefused) {
  TestGuest guest;
  const auto object = changed(test::make_elf64(true), offsetof(Elf64_Ehdr, e_type), u16{ET_REL});
  EXPECT_THAT(guest.error(object), HasSubstr("not an executable"));
}

TEST(Elf, TruncatedFilesAreRefused) {
  TestGuest guest;
  const auto image = test::make_elf64(true);
  EXPECT_THAT(guest.error(std::span(image).first(10)), HasSubstr("truncated in its header"));
  EXPECT_THAT(guest.error(std::span(image).first(40)), HasSubstr("truncated in its header"));
  EXPECT_THAT(guest.error(std::span(image).first(100)), HasSubstr("truncated before its program headers"));
  EXPECT_THAT(guest.error(std::span(image).first(image.size() - 1)), HasSubstr("a segment needs"));
}

TEST(Elf, OffsetsThatWrapAroundAreRefused) {
  TestGuest guest;
  const auto image = test::make_elf64(true);
  EXPECT_THAT(guest.error(changed(image, offsetof(Elf64_Ehdr, e_phoff), ~u64{0} - 8)),
              HasSubstr("truncated"));
  EXPECT_THAT(guest.error(changed(image, kCodeHeader + offsetof(Elf64_Phdr, p_offset), ~u64{0} - 8)),
              HasSubstr("truncated"));
  EXPECT_THAT(guest.error(changed(image, kCodeHeader + offsetof(Elf64_Phdr, p_memsz), ~u64{0})),
              HasSubstr("outside the guest's 16 MiB"));
}

TEST(Elf, MoreBytesInTheFileThanInMemoryAreRefused) {
  TestGuest guest;
  const auto image = changed(test::make_elf64(true), kCodeHeader + offsetof(Elf64_Phdr, p_memsz), u64{4});
  EXPECT_THAT(guest.error(image), HasSubstr("damaged"));
}

TEST(Elf, KernelLargerThanMemoryIsRefused) {
  TestGuest guest(kMiB * 2);
  EXPECT_THAT(guest.error(test::make_elf64(true)), HasSubstr("give the guest more memory"));
}

}  // namespace
}  // namespace doppel
