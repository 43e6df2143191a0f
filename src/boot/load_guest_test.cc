// Tests format recognition, file errors, flat binaries and a distribution's kernel.
#include "boot/load_guest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "boot/test_image.h"

namespace doppel {
namespace {

using test::ImageBuilder;
using test::TestGuest;
using testing::HasSubstr;
using testing::StartsWith;

// A file in the tests' temporary folder, removed at the end.
class TemporaryFile {
 public:
  TemporaryFile(std::string_view name, std::span<const u8> bytes)
      : path_(fmt::format("{}/doppel-{}-{}", testing::TempDir(), ::getpid(), name)) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string file_error(const BootConfig& config) {
  TestGuest guest;
  const auto state = load_guest(*guest.memory, config, guest.tables);
  return state ? "" : state.error().message;
}

std::vector<u8> boot_sector() { return ImageBuilder().put(0, u16{0xfeeb}).put(510, u16{0xaa55}).take(); }

TEST(LoadGuest, ReadsKernelInitrdAndModules) {
  TestGuest guest;
  const TemporaryFile kernel("kernel", test::make_elf64(true));
  const TemporaryFile initrd("initrd", std::vector<u8>(100, 1));
  const TemporaryFile module("module", std::vector<u8>(100, 2));

  const auto state = load_guest(
      *guest.memory, {kernel.path(), initrd.path(), "quiet", {module.path() + " a b"}, BootProtocol::kAuto},
      guest.tables);

  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, test::kTestEntry);
  EXPECT_EQ(guest.value<u32>(state->gpr[x86::kRbx] + 12), 2u);
}

TEST(LoadGuest, NamesTheFileThatIsMissing) {
  const TemporaryFile kernel("kernel", test::make_elf64(true));
  EXPECT_EQ(file_error({.kernel_path = "/nonexistent/k"}),
            "kernel '/nonexistent/k': cannot be opened: No such file or directory");
  EXPECT_THAT(file_error({.kernel_path = kernel.path(), .initrd_path = "/nonexistent/i"}),
              StartsWith("initrd '/nonexistent/i': cannot be opened"));
}

TEST(LoadGuest, RefusesWhatIsNotARegularNonEmptyFile) {
  const TemporaryFile empty("empty", {});
  EXPECT_THAT(file_error({.kernel_path = empty.path()}), HasSubstr("is empty"));
  EXPECT_THAT(file_error({.kernel_path = testing::TempDir()}), HasSubstr("is a directory"));
  EXPECT_THAT(file_error({.kernel_path = "/dev/zero"}), HasSubstr("not a regular file"));
}

TEST(LoadGuest, DoesNotWaitForAFifo) {
  const std::string path = fmt::format("{}/doppel-{}-fifo", testing::TempDir(), ::getpid());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(file_error({.kernel_path = path}), HasSubstr("not a regular file"));
  ::unlink(path.c_str());
}

TEST(LoadGuest, RefusesAnInitrdLargerThanMemoryBeforeReadingIt) {
  const TemporaryFile kernel("kernel", test::make_elf64(true));
  const TemporaryFile initrd("initrd", {});
  ASSERT_EQ(::truncate(initrd.path().c_str(), 1ll << 40), 0);
  EXPECT_THAT(file_error({.kernel_path = kernel.path(), .initrd_path = initrd.path()}),
              HasSubstr("1048576 MiB large, more than the 16 MiB"));
}

TEST(LoadGuest, SaysWhatAFileIsInstead) {
  TestGuest guest;
  EXPECT_THAT(guest.error(ImageBuilder().put(56, u32{0x644d5241}).take()), HasSubstr("is an arm64 kernel"));
  EXPECT_THAT(guest.error(ImageBuilder().put(0, u16{0x8b1f}).put(1000, 1).take()),
              HasSubstr("is a gzip archive"));
  EXPECT_THAT(guest.error(ImageBuilder().put_text(0, "MZ").put(1000, 1).take()),
              HasSubstr("is an EFI program"));
  EXPECT_THAT(guest.error(std::vector<u8>(2000, 0x5a)), HasSubstr("2000 bytes in no known kernel format"));
  EXPECT_THAT(guest.error({}), HasSubstr("is empty"));
}

TEST(LoadGuest, RefusesCommandLinesThatNoKernelTakes) {
  TestGuest guest;
  guest.command_line.assign(4096, 'x');
  EXPECT_THAT(guest.error(test::make_elf64(true)), HasSubstr("at most 4095"));
  guest.command_line = std::string("a\0b", 3);
  EXPECT_THAT(guest.error(test::make_elf64(true)), HasSubstr("zero byte"));
}

TEST(LoadGuest, ProtocolThatDoesNotFitTheFileIsRefused) {
  TestGuest guest;
  EXPECT_THAT(guest.error(test::make_elf64(true), BootProtocol::kLinux64),
              HasSubstr("no Linux setup header"));
  EXPECT_THAT(guest.error(boot_sector(), BootProtocol::kPvh), HasSubstr("no Linux setup header"));
}

TEST(BootProtocol, IsParsedByName) {
  EXPECT_EQ(parse_boot_protocol("linux32"), BootProtocol::kLinux32);
  EXPECT_EQ(parse_boot_protocol("auto"), BootProtocol::kAuto);
  const auto wrong = parse_boot_protocol("uefi");
  ASSERT_FALSE(wrong);
  EXPECT_TRUE(wrong.error().is_usage);
}

TEST(Flat, BootSectorStartsInRealModeAt7c00) {
  TestGuest guest;

  const auto state = guest.load(boot_sector());

  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip, 0x7c00u);
  EXPECT_EQ(state->cr0, x86::kCr0Et);
  EXPECT_EQ(state->gpr[x86::kRdx], 0x80u);
  EXPECT_EQ(state->segment(x86::kCs).base, 0u);
  EXPECT_EQ(state->segment(x86::kCs).limit, 0xffffu);
  EXPECT_EQ(state->idtr.limit, 0x3ff);
  EXPECT_EQ(guest.value<u16>(0x7c00), 0xfeeb);
}

TEST(Flat, OtherBinariesOnlyWhenAskedFor) {
  TestGuest guest;
  const std::vector<u8> code = {0xf4};
  EXPECT_THAT(guest.error(code), HasSubstr("protocol flat"));
  EXPECT_EQ(guest.error(code, BootProtocol::kFlat), "");
}

TEST(Flat, LimitsAreEnforced) {
  EXPECT_EQ(TestGuest().error(std::vector<u8>(512 * kKiB), BootProtocol::kFlat), "");
  EXPECT_THAT(TestGuest().error(std::vector<u8>(512 * kKiB + 1), BootProtocol::kFlat),
              HasSubstr("at most 512 KiB"));
  TestGuest guest;
  guest.initrd = {1};
  EXPECT_THAT(guest.error(boot_sector()), HasSubstr("neither initrd nor modules"));
}

// The kernel of a distribution, when the environment names one.
struct RealKernel : testing::Test {
  void SetUp() override {
    const char* path = std::getenv("DOPPEL_TEST_KERNEL");
    if (path == nullptr) GTEST_SKIP() << "DOPPEL_TEST_KERNEL does not name a bzImage";
    config.kernel_path = path;
  }
  BootConfig config;
};

TEST_F(RealKernel, IsEnteredByPvh) {
  TestGuest guest(256 * kMiB);
  const auto state = load_guest(*guest.memory, config, guest.tables);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(guest.value<u32>(state->gpr[x86::kRbx]), 0x336ec578u);
  EXPECT_NE(guest.value<u64>(state->rip), 0u);
}

TEST_F(RealKernel, IsEnteredByTheLinuxProtocol) {
  TestGuest guest(256 * kMiB);
  config.protocol = BootProtocol::kLinux64;
  const auto state = load_guest(*guest.memory, config, guest.tables);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->rip % kPageSize, 0x200u);
  EXPECT_NE(guest.value<u64>(state->rip), 0u);
}

TEST_F(RealKernel, NeedsEnoughMemory) {
  TestGuest guest(16 * kMiB);
  const auto state = load_guest(*guest.memory, config, guest.tables);
  ASSERT_FALSE(state);
  EXPECT_THAT(state.error().message, HasSubstr("give the guest more memory"));
}

}  // namespace
}  // namespace doppel
