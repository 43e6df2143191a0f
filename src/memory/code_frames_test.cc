// Marks of code frames, direct writes, and the mail between vCPUs.
#include "memory/code_frames.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace doppel {
namespace {

constexpr u64 kFrames = 1024;

// Writes down what it is told. Owned by a test.
struct FakeUser final : CodeFrameUser {
  explicit FakeUser(CodeFrames& code_frames) : frames(code_frames), id(code_frames.add_user(*this)) {}
  void code_written(u64 frame, u64 start, u64 size) override {
    log +=
        "written " + std::to_string(frame) + ":" + std::to_string(start) + "+" + std::to_string(size) + " ";
  }
  void revoke_writes(u64 frame) override { log += "revoke " + std::to_string(frame) + " "; }
  void everything_written() override { log += "everything "; }
  void interrupt() override { ++interrupts; }

  CodeFrames& frames;
  CodeFrames::UserId id;
  std::string log;
  std::atomic<int> interrupts = 0;
};

class CodeFramesTest : public testing::Test {
 protected:
  CodeFrames frames{kFrames};
  FakeUser one{frames};
  FakeUser two{frames};
};

TEST_F(CodeFramesTest, TheWriterHearsOfItsOwnStoreAtOnceAndExactly) {
  frames.mark(7, one.id);
  frames.written(7, 8, 2, one.id);
  EXPECT_EQ(one.log, "written 7:8+2 ");
  EXPECT_TRUE(frames.is_marked(7));
}

TEST_F(CodeFramesTest, OthersHearByMailAndLoseTheMark) {
  frames.mark(7, one.id);
  frames.written(7, 8, 2, two.id);
  EXPECT_FALSE(frames.is_marked(7));
  EXPECT_EQ(one.log, "");
  frames.handle_mail(one.id);
  EXPECT_EQ(one.log, "written 7:0+4096 ");
  EXPECT_EQ(two.log, "");
}

TEST_F(CodeFramesTest, DevicesReachEveryUser) {
  frames.mark(7, one.id);
  frames.mark(7, two.id);
  frames.written(7, 8, 2, CodeFrames::kNobody);
  frames.handle_mail(one.id);
  frames.handle_mail(two.id);
  EXPECT_EQ(one.log, "written 7:0+4096 ");
  EXPECT_EQ(two.log, "written 7:0+4096 ");
}

TEST_F(CodeFramesTest, OnlyExecutingUsersAreInterrupted) {
  frames.mark(7, one.id);
  frames.written(7, 8, 2, two.id);
  EXPECT_EQ(one.interrupts, 0);
  frames.enter(one.id);
  EXPECT_EQ(one.log, "written 7:0+4096 ");
  frames.mark(7, one.id);
  frames.written(7, 8, 2, two.id);
  EXPECT_EQ(one.interrupts, 1);
  frames.leave(one.id);
}

// A vCPU sees its own stores to code it is executing, whatever others wrote there a moment ago.
TEST_F(CodeFramesTest, OwnStoresAreHeardOfWhileMailWaits) {
  frames.mark(7, one.id);
  EXPECT_FALSE(frames.is_watched(8, one.id));
  frames.written(7, 8, 2, CodeFrames::kNobody);
  EXPECT_FALSE(frames.is_marked(7));
  EXPECT_FALSE(frames.grant_write(7, one.id));
  EXPECT_TRUE(frames.is_watched(7, one.id));
  EXPECT_FALSE(frames.is_watched(7, two.id));
  frames.written(7, 16, 1, one.id);
  EXPECT_EQ(one.log, "written 7:16+1 ");
  frames.handle_mail(one.id);
  EXPECT_FALSE(frames.is_watched(7, one.id));
  EXPECT_TRUE(frames.grant_write(7, one.id));
}

TEST_F(CodeFramesTest, DirectWritesAndMarksExcludeEachOther) {
  EXPECT_TRUE(frames.grant_write(7, one.id));
  frames.mark(7, one.id);
  EXPECT_EQ(one.log, "revoke 7 ");
  EXPECT_FALSE(frames.grant_write(7, one.id));
  EXPECT_FALSE(frames.grant_write(7, two.id));
  frames.unmark(7, one.id);
  EXPECT_TRUE(frames.grant_write(7, two.id));
}

TEST_F(CodeFramesTest, AHaltedWriterIsNotWaitedForButGivesUpItsWritesBeforeItRuns) {
  EXPECT_TRUE(frames.grant_write(7, two.id));
  frames.mark(7, one.id);
  EXPECT_EQ(two.log, "");
  frames.enter(two.id);
  EXPECT_EQ(two.log, "revoke 7 ");
  frames.leave(two.id);
}

TEST_F(CodeFramesTest, MarkingWaitsForAnExecutingWriter) {
  frames.enter(two.id);
  EXPECT_TRUE(frames.grant_write(7, two.id));
  std::atomic<bool> is_marked = false;
  std::thread marker([&] {
    frames.mark(7, one.id);
    is_marked = true;
  });
  while (two.interrupts == 0) std::this_thread::yield();
  EXPECT_FALSE(is_marked);
  frames.handle_mail(two.id);
  marker.join();
  EXPECT_EQ(two.log, "revoke 7 ");
  frames.leave(two.id);
}

TEST_F(CodeFramesTest, TwoThatMarkAtOnceDoNotWaitForever) {
  frames.enter(one.id);
  frames.enter(two.id);
  EXPECT_TRUE(frames.grant_write(7, two.id));
  EXPECT_TRUE(frames.grant_write(8, one.id));
  std::thread other([&] { frames.mark(8, two.id); });
  frames.mark(7, one.id);
  // Goes on as a vCPU does, until the other one is through.
  std::atomic<bool> is_through = false;
  std::thread watcher([&] {
    other.join();
    is_through = true;
  });
  while (!is_through) frames.handle_mail(one.id);
  watcher.join();
  EXPECT_EQ(one.log, "revoke 8 ");
  EXPECT_EQ(two.log, "revoke 7 ");
}

TEST_F(CodeFramesTest, TooMuchMailMeansEverything) {
  for (u64 frame = 0; frame < kFrames; ++frame) frames.mark(frame, one.id);
  for (u64 frame = 0; frame < kFrames; ++frame) frames.written(frame, 0, 1, two.id);
  frames.handle_mail(one.id);
  EXPECT_EQ(one.log, "everything ");
}

TEST_F(CodeFramesTest, TheSameFrameTwiceIsOneMessage) {
  frames.mark(7, one.id);
  frames.written(7, 8, 2, two.id);
  frames.mark(7, one.id);
  frames.written(7, 8, 2, two.id);
  frames.handle_mail(one.id);
  EXPECT_EQ(one.log, "written 7:0+4096 ");
}

TEST_F(CodeFramesTest, ARemovedUserLeavesNoMarks) {
  frames.mark(7, one.id);
  frames.remove_user(one.id);
  EXPECT_FALSE(frames.is_marked(7));
}

TEST_F(CodeFramesTest, HoldsSixtyFourUsers) {
  std::vector<std::unique_ptr<FakeUser>> users;
  for (unsigned i = 2; i < CodeFrames::kMaxUsers; ++i) users.push_back(std::make_unique<FakeUser>(frames));
  EXPECT_EQ(users.back()->id, 63u);
  EXPECT_EQ(FakeUser(frames).id, CodeFrames::kNobody);
}

}  // namespace
}  // namespace doppel
