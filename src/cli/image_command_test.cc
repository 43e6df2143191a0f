// `doppel image build`: what is refused before anything is made.
#include "cli/image_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "cli/file_copy.h"

namespace doppel {
namespace {

namespace fs = std::filesystem;

struct ImageCommand : ::testing::Test {
  WorkDirectory folder = WorkDirectory::create(fs::temp_directory_path()).value();
  ImageOptions options;

  ImageCommand() {
    options.cache = (folder.path() / "cache").string();
    options.output = (folder.path() / "disk.raw").string();
    options.mirror = "file:/nonexistent";
  }
  Error refused() { return build_image(options).error(); }
};

TEST_F(ImageCommand, WrongOptionsAreUsageErrors) {
  options.suite = "../x";
  EXPECT_TRUE(refused().is_usage);
  options.suite = "bookworm";
  options.size = "12M";
  EXPECT_TRUE(refused().is_usage);
  options.size = "2G";
  options.hostname = "a b";
  EXPECT_TRUE(refused().is_usage);
  options.hostname = "guest";
  options.root_password = "a\nb";
  EXPECT_TRUE(refused().is_usage);
}

TEST_F(ImageCommand, AbsentKeyIsNamed) {
  options.ssh_key_path = "/nonexistent.pub";
  EXPECT_EQ(refused().message, "--ssh-key /nonexistent.pub: cannot be read");
}

TEST_F(ImageCommand, SuiteThatTheHostLacksNeedsAMirror) {
  options.mirror.clear();
  options.suite = "no-such-suite";
  EXPECT_EQ(refused().message,
            "the package sources of this host have no suite 'no-such-suite'; give --mirror");
}

TEST_F(ImageCommand, NothingIsLeftOfWhatIsRefused) {
  options.packages = {"$(id)"};
  EXPECT_TRUE(refused().is_usage);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(ImageCache, FollowsTheUsersCacheDirectory) {
  ::setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(default_image_cache(), "/xdg/doppel/images");
  ::setenv("XDG_CACHE_HOME", "", 1);
  ::setenv("HOME", "/someone", 1);
  EXPECT_EQ(default_image_cache(), "/someone/.cache/doppel/images");
}

}  // namespace
}  // namespace doppel
