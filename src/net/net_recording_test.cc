// Tests of recordings: what is written is read, and what is damaged is refused with one line.
#include "net/net_recording.h"

#include <gtest/gtest.h>

#include <fstream>

#include "net/net_fakes.h"

namespace doppel {
namespace {

constexpr std::size_t kStartSize = 32;
constexpr std::size_t kRecordStart = 16;

class NetRecordingTest : public testing::Test {
 protected:
  // Sent at 5, a frame at 20000, the cable pulled at 40000, the end at 50000.
  std::vector<u8> sample() {
    {
      auto writer = NetRecordingWriter::create(
          path_, {.limits = {.from_guest = {.checksum = true}, .to_guest = {.tso6 = true}, .mtu = 1400}});
      EXPECT_TRUE(writer) << writer.error().message;
      writer->add_sent({Nanoseconds(5), 77});
      writer->add_frame(Nanoseconds(20'000), {.flags = 2}, test_frame(60, 3));
      writer->add_link(Nanoseconds(40'000), false);
      writer->add_end(Nanoseconds(50'000));
    }
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void TearDown() override { std::remove(path_.c_str()); }

  static std::string error_of(std::vector<u8> bytes) {
    const auto recording = NetRecording::parse("r", std::move(bytes));
    return recording ? "" : recording.error().message;
  }

  std::string path_ = testing::TempDir() + "doppel_net_recording_" +
                      std::to_string(testing::UnitTest::GetInstance()->random_seed());
};

TEST_F(NetRecordingTest, WhatIsWrittenIsRead) {
  sample();
  const auto recording = NetRecording::open(path_);
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_TRUE(recording->start().limits.from_guest == NetOffloads{.checksum = true});
  EXPECT_TRUE(recording->start().limits.to_guest == NetOffloads{.tso6 = true});
  EXPECT_EQ(recording->start().limits.mtu, 1400);
  EXPECT_TRUE(recording->start().is_link_up);
  ASSERT_EQ(recording->sent().size(), 1u);
  EXPECT_EQ(recording->sent()[0].time, Nanoseconds(5));
  EXPECT_EQ(recording->sent()[0].chain, 77u);
  ASSERT_EQ(recording->inputs().size(), 2u);
  EXPECT_EQ(recording->inputs()[0].time, Nanoseconds(20'000));
  EXPECT_EQ(recording->inputs()[0].header.flags, 2);
  const std::span<const u8> frame = recording->frame(recording->inputs()[0]);
  EXPECT_EQ(std::vector(frame.begin(), frame.end()), test_frame(60, 3));
  EXPECT_FALSE(recording->inputs()[1].is_frame);
  EXPECT_FALSE(recording->inputs()[1].is_link_up);
  EXPECT_EQ(recording->end(), Nanoseconds(50'000));
}

TEST_F(NetRecordingTest, OtherFilesAreRefused) {
  EXPECT_EQ(error_of({}), "recording 'r': this is no recording of a network");
  std::vector<u8> other = sample();
  other[0] = 'X';
  EXPECT_EQ(error_of(other), "recording 'r': this is no recording of a network");
  std::vector<u8> newer = sample();
  newer[8] = 2;
  EXPECT_EQ(error_of(newer), "recording 'r': version 2; this program reads version 1");
}

TEST_F(NetRecordingTest, CutRecordingsAreRefused) {
  std::vector<u8> bytes = sample();
  bytes.resize(kStartSize + kRecordStart + 7);
  EXPECT_EQ(error_of(bytes), "recording 'r': cut off at byte 32");
}

TEST_F(NetRecordingTest, ARecordingWithoutAnEndIsReadable) {
  std::vector<u8> bytes = sample();
  bytes.resize(bytes.size() - kRecordStart);
  const auto recording = NetRecording::parse("r", bytes);
  ASSERT_TRUE(recording);
  EXPECT_EQ(recording->end(), Nanoseconds::max());
}

TEST_F(NetRecordingTest, TimeDoesNotGoBack) {
  std::vector<u8> bytes = sample();
  bytes[kStartSize + 5] = 1;  // the first record's time is after the second's
  EXPECT_EQ(error_of(bytes), "recording 'r': impossible record at byte 56");
}

TEST_F(NetRecordingTest, NothingFollowsTheEnd) {
  std::vector<u8> bytes = sample();
  bytes.insert(bytes.end(), bytes.end() - kRecordStart, bytes.end());
  EXPECT_EQ(error_of(bytes),
            fmt::format("recording 'r': impossible record at byte {}", bytes.size() - kRecordStart));
}

TEST_F(NetRecordingTest, FramesHaveBounds) {
  std::vector<u8> bytes = sample();
  bytes.resize(kStartSize);
  const std::vector<u8> short_frame = {0, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0};
  bytes.insert(bytes.end(), short_frame.begin(), short_frame.end());
  bytes.resize(bytes.size() + 25);
  EXPECT_EQ(error_of(bytes), "recording 'r': impossible record at byte 32");
}

TEST_F(NetRecordingTest, MissingFilesAreNamed) {
  const auto recording = NetRecording::open("/nonexistent/r");
  ASSERT_FALSE(recording);
  EXPECT_EQ(recording.error().message, "recording '/nonexistent/r': No such file or directory");
}

TEST(ChainedFrames, TheOrderCounts) {
  std::vector<u8> one = test_frame(60, 1);
  std::vector<u8> two = test_frame(60, 2);
  EXPECT_NE(chain_frame(chain_frame(0, {}, one), {}, two), chain_frame(chain_frame(0, {}, two), {}, one));
  EXPECT_NE(chain_frame(0, {}, one), chain_frame(0, {.flags = 1}, one));
}

}  // namespace
}  // namespace doppel
