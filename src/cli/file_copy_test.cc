// Sparse copies, results that appear whole, directories that go away.
#include "cli/file_copy.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

namespace doppel {
namespace {

namespace fs = std::filesystem;

struct FileCopy : ::testing::Test {
  WorkDirectory folder = WorkDirectory::create(fs::temp_directory_path()).value();

  fs::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder.path() / name) << text;
    return folder.path() / name;
  }
  std::string read(const std::string& name) {
    std::ostringstream text;
    text << std::ifstream(folder.path() / name).rdbuf();
    return text.str();
  }
  fs::path path(const std::string& name) { return folder.path() / name; }
};

TEST_F(FileCopy, DataAndHolesArrive) {
  const fs::path source = write("source", "begin");
  fs::resize_file(source, 64 << 20);
  std::fstream(source, std::ios::in | std::ios::out).seekp(32 << 20) << "middle";
  ASSERT_TRUE(copy_sparse(source, path("copy")));
  EXPECT_EQ(fs::file_size(path("copy")), 64u << 20);
  EXPECT_EQ(read("copy"), read("source"));
  struct stat status = {};
  ASSERT_EQ(::stat(path("copy").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks, 2048);
}

TEST_F(FileCopy, OldContentsAreReplaced) {
  write("copy", "something longer than the source");
  ASSERT_TRUE(copy_sparse(write("source", "new"), path("copy")));
  EXPECT_EQ(read("copy"), "new");
}

TEST_F(FileCopy, AbsentSourceIsAnError) { EXPECT_FALSE(copy_sparse(path("none"), path("copy"))); }

TEST_F(FileCopy, DeliveryIsComplete) {
  ASSERT_TRUE(deliver({{write("a", "1"), path("x")}, {write("b", "2"), path("y")}}));
  EXPECT_EQ(read("x") + read("y"), "12");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 4);
}

TEST_F(FileCopy, FailedDeliveryLeavesNothingAndChangesNothing) {
  write("x", "old");
  EXPECT_FALSE(deliver({{write("a", "1"), path("x")}, {path("none"), path("y")}}));
  EXPECT_EQ(read("x"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2);
}

TEST(WorkDirectory, GoesAwayWithItsContents) {
  fs::path kept;
  {
    const WorkDirectory folder = WorkDirectory::create(fs::temp_directory_path()).value();
    kept = folder.path();
    std::ofstream(kept / "file") << "text";
    EXPECT_TRUE(fs::exists(kept / "file"));
  }
  EXPECT_FALSE(fs::exists(kept));
}

TEST(WorkDirectory, ParentThatCannotBeIsAnError) { EXPECT_FALSE(WorkDirectory::create("/proc/none")); }

}  // namespace
}  // namespace doppel
