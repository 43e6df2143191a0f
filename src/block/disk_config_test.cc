// Tests of the --disk option.
#include "block/disk_config.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

Result<DiskConfig> parse_disk_option(std::string_view text) {
  return read_disk_options(TRY(OptionList::parse("--disk", "a file or nbd URI", text, kDiskKeys)));
}

std::string error_of(std::string_view text) {
  const Result<DiskConfig> config = parse_disk_option(text);
  if (config) return "";
  EXPECT_TRUE(config.error().is_usage);
  EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
  return config.error().message;
}

TEST(DiskConfig, AFileAloneIsAWritableBufferedDisk) {
  const DiskConfig config = *parse_disk_option("/a/disk.img");
  EXPECT_EQ(config.target, "/a/disk.img");
  EXPECT_FALSE(config.is_read_only);
  EXPECT_FALSE(config.is_direct);
  EXPECT_FALSE(config.is_network());
  EXPECT_EQ(config.queues, 1);
  EXPECT_EQ(config.bandwidth, 0u);
}

TEST(DiskConfig, TakesEveryKey) {
  const DiskConfig config =
      *parse_disk_option("d,id=root,serial=S1,readonly=on,direct=on,queues=4,bandwidth=10M,iops=500");
  EXPECT_EQ(config.id, "root");
  EXPECT_EQ(config.serial, "S1");
  EXPECT_TRUE(config.is_read_only);
  EXPECT_TRUE(config.is_direct);
  EXPECT_EQ(config.queues, 4);
  EXPECT_EQ(config.bandwidth, 10 * kMiB);
  EXPECT_EQ(config.operations, 500u);
}

TEST(DiskConfig, TheSerialIsTheIdWhenNotGiven) {
  EXPECT_EQ(parse_disk_option("d,id=root")->serial, "root");
  EXPECT_EQ(parse_disk_option("d,id=a-very-long-name-of-a-disk")->serial, "a-very-long-name-of-");
}

TEST(DiskConfig, KnowsNetworkDisks) {
  EXPECT_TRUE(parse_disk_option("nbd://host:10809/name")->is_network());
  EXPECT_TRUE(parse_disk_option("nbd+unix:///name?socket=/run/s")->is_network());
  EXPECT_FALSE(parse_disk_option("nbd")->is_network());
}

TEST(DiskConfig, RefusesBadInput) {
  EXPECT_EQ(error_of(""), "--disk '': begins without a file or nbd URI");
  EXPECT_EQ(error_of("d,colour=red"),
            "--disk: no key 'colour'; it knows id, serial, readonly, direct, queues, bandwidth, iops");
  EXPECT_EQ(error_of("d,id=a,id=b"), "--disk: id is given twice");
  EXPECT_EQ(error_of("d,readonly=yes"), "--disk: readonly=yes: give on or off");
  EXPECT_EQ(error_of("d,queues=0"), "--disk: queues=0: give a number from 1 to 64");
  EXPECT_EQ(error_of("d,bandwidth=-1"), "--disk: bandwidth=-1: give a size in bytes, or with K, M or G");
  EXPECT_EQ(error_of("d,serial=123456789012345678901"),
            "--disk: serial=123456789012345678901: give at most 20 printable characters");
  EXPECT_EQ(error_of("nbd://h,direct=on"), "--disk: direct=on: only a file has a page cache to pass by");
}

}  // namespace
}  // namespace doppel
