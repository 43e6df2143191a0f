// Recipes of guest images: names, command lines, files, cache keys.
#include "cli/image_recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppel {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

ImageRecipe example() {
  ImageRecipe recipe;
  recipe.suite = "bookworm";
  recipe.packages = {"fio", "iperf3"};
  recipe.sources = {"deb http://mirror.example/debian bookworm main"};
  recipe.apt_settings = {"Acquire::Check-Date \"false\";"};
  recipe.hostname = "guest";
  recipe.disk_bytes = u64{2} << 30;
  return recipe;
}

const ImageFile* find_file(const std::vector<ImageFile>& files, const std::string& path) {
  for (const ImageFile& file : files) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

TEST(ImageRecipe, PackagesAreSortedAndUnique) {
  EXPECT_THAT(parse_packages({"iperf3,fio", "fio stress-ng"}).value(),
              ElementsAre("fio", "iperf3", "stress-ng"));
  EXPECT_TRUE(parse_packages({})->empty());
}

TEST(ImageRecipe, WhatIsNoPackageNameIsRefused) {
  EXPECT_TRUE(parse_packages({"fio;reboot"}).error().is_usage);
  EXPECT_FALSE(parse_packages({"-x"}));
  EXPECT_FALSE(parse_packages({"Fio"}));
  EXPECT_FALSE(parse_packages({"$(id)"}));
}

TEST(ImageRecipe, NamesThatAreNoneAreRefused) {
  EXPECT_TRUE(is_host_name("Guest-1"));
  EXPECT_FALSE(is_host_name(""));
  EXPECT_FALSE(is_host_name("-guest"));
  EXPECT_FALSE(is_host_name("two words"));
  EXPECT_FALSE(is_host_name(std::string(64, 'a')));
  EXPECT_TRUE(is_suite_name("bookworm"));
  EXPECT_FALSE(is_suite_name("../etc"));
  EXPECT_FALSE(is_suite_name("--mode=root"));
}

TEST(ImageRecipe, TreeCommandNamesSuiteTargetAndSourcesLast) {
  const auto command = mmdebstrap_command("/usr/bin/mmdebstrap", example(), "files.tar", "tree.tar");
  const std::vector<std::string> end(command.end() - 3, command.end());
  EXPECT_EQ(command[0], "/usr/bin/mmdebstrap");
  EXPECT_THAT(end, ElementsAre("bookworm", "tree.tar", "deb http://mirror.example/debian bookworm main"));
  EXPECT_THAT(command, Contains("--aptopt=Acquire::Check-Date \"false\";"));
  EXPECT_THAT(command, Contains("--essential-hook=tar-in 'files.tar' /"));
  EXPECT_THAT(command, Contains(HasSubstr(",fio,iperf3")));
}

TEST(ImageRecipe, NamesWithSpacesAndQuotesStayWhole) {
  EXPECT_THAT(mmdebstrap_command("m", example(), "/my dir/it's", "t"),
              Contains("--essential-hook=tar-in '/my dir/it'\\''s' /"));
}

TEST(ImageRecipe, PasswordIsOnNoCommandLine) {
  ImageRecipe recipe = example();
  recipe.root_password = "secret";
  EXPECT_THAT(mmdebstrap_command("m", recipe, "f", "t"), Not(Contains(HasSubstr("secret"))));
  const auto files = image_files(recipe);
  EXPECT_EQ(find_file(files, "root/password")->mode, 0600u);
  EXPECT_EQ(find_file(files, "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"), nullptr);
}

TEST(ImageRecipe, WithoutPasswordTheConsoleLogsIn) {
  const auto files = image_files(example());
  EXPECT_NE(find_file(files, "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"), nullptr);
  EXPECT_EQ(find_file(files, "root/password"), nullptr);
  EXPECT_EQ(find_file(files, "root/.ssh/authorized_keys"), nullptr);
}

TEST(ImageRecipe, KeyOfSshIsForRoot) {
  ImageRecipe recipe = example();
  recipe.ssh_key = "ssh-ed25519 AAAA me";
  const auto files = image_files(recipe);
  EXPECT_EQ(find_file(files, "root/.ssh/authorized_keys")->content, "ssh-ed25519 AAAA me\n");
}

TEST(ImageRecipe, DiskCommandGivesTheSize) {
  EXPECT_EQ(mkfs_command("mkfs.ext4", example(), "tree", "disk").back(), "2097152k");
}

TEST(ImageRecipe, TreeIsUnpackedWithItsAttributes) {
  EXPECT_THAT(unpack_command("tar", "tree.tar", "tree"), IsSupersetOf({"--same-permissions", "--xattrs"}));
}

TEST(ImageRecipe, WithoutRootOwnersComeBeforeAttributesAndTheDiskInOneSession) {
  const std::vector<std::string> unpack = {"tar", "--file", "my tree.tar", "--xattrs", "--xattrs-include=*"};
  EXPECT_THAT(fakeroot_command("fakeroot", unpack, {"mkfs.ext4", "it's"}),
              ElementsAre("fakeroot", "--", "/bin/sh", "-c",
                          "'tar' '--file' 'my tree.tar' && "
                          "'tar' '--file' 'my tree.tar' '--xattrs' '--xattrs-include=*' '--overwrite' && "
                          "'mkfs.ext4' 'it'\\''s'"));
}

TEST(ImageRecipe, EqualRecipesHaveEqualKeys) {
  EXPECT_EQ(recipe_key(example()), recipe_key(example()));
  EXPECT_EQ(recipe_key(example()).size(), 32u);
}

template <class Change>
std::string key_after(Change change) {
  ImageRecipe recipe = example();
  change(recipe);
  return recipe_key(recipe);
}

TEST(ImageRecipe, EveryPartOfTheRecipeIsInTheKey) {
  const std::string key = recipe_key(example());
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.suite = "trixie"; }));
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.packages.pop_back(); }));
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.sources[0] += " contrib"; }));
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.apt_settings.clear(); }));
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.hostname = "other"; }));
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.root_password = "secret"; }));
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.ssh_key = "ssh-ed25519 AAAA"; }));
  EXPECT_NE(key, key_after([](ImageRecipe& recipe) { recipe.disk_bytes += 1 << 20; }));
}

}  // namespace
}  // namespace doppel
