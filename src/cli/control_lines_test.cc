// Lines and the commands they become.
#include "cli/control_lines.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

// Remembers the last command and answers as told.
class ControlLinesTest : public testing::Test {
 protected:
  Result<std::size_t> execute(const Command& command) {
    ++count_;
    if (const auto* balloon = std::get_if<SetBalloon>(&command)) bytes_ = balloon->bytes;
    if (const auto* statistics = std::get_if<WriteStatistics>(&command)) path_ = statistics->path;
    if (const auto* engine = std::get_if<SwitchEngine>(&command)) engine_ = engine->engine;
    if (const auto* read = std::get_if<ReadBalloonStatistics>(&command)) read->out = report_;
    has_quit_ = has_quit_ || std::holds_alternative<Quit>(command);
    has_pressed_ = has_pressed_ || std::holds_alternative<PressPowerButton>(command);
    if (is_failing_) return fail("it\nfailed");
    return 0;
  }

  ControlLines lines_{[this](const Command& command) { return execute(command); }};
  unsigned count_ = 0;
  u64 bytes_ = 0;
  std::string path_;
  std::optional<Engine> engine_;
  BalloonReport report_;
  bool has_quit_ = false;
  bool has_pressed_ = false;
  bool is_failing_ = false;
};

TEST_F(ControlLinesTest, CommandsReachTheMachine) {
  EXPECT_EQ(lines_.answer("balloon 128M"), "ok");
  EXPECT_EQ(bytes_, 128 * kMiB);
  EXPECT_EQ(lines_.answer("  statistics  /tmp/a file \r"), "ok");
  EXPECT_EQ(path_, "/tmp/a file");
  EXPECT_EQ(lines_.answer("engine kvm"), "ok");
  EXPECT_EQ(engine_, Engine::kKvm);
  EXPECT_EQ(lines_.answer("engine jit"), "ok");
  EXPECT_EQ(engine_, Engine::kJit);
  EXPECT_EQ(lines_.answer("engine interp"), "ok");
  EXPECT_EQ(engine_, Engine::kInterp);
  EXPECT_EQ(lines_.answer("power-button"), "ok");
  EXPECT_TRUE(has_pressed_);
  EXPECT_EQ(lines_.answer("quit"), "ok");
  EXPECT_TRUE(has_quit_);
}

TEST_F(ControlLinesTest, BalloonStatisticsAreOneLine) {
  report_ = {.target_bytes = 4096, .actual_bytes = 8192, .is_fresh = true, .statistics = {}};
  report_.statistics[4] = 77;
  EXPECT_EQ(lines_.answer("balloon-statistics"), "ok target=4096 actual=8192 fresh=yes free=77");
}

TEST_F(ControlLinesTest, NonsenseReachesNobody) {
  const std::string_view nul("statistics a\0b", 14);
  for (const std::string_view line :
       {std::string_view(""), std::string_view(" "), std::string_view("Quit"), std::string_view("quit 1"),
        std::string_view("balloon"), std::string_view("balloon -1"), std::string_view("balloon 1M 2M"),
        std::string_view("engine"), std::string_view("engine auto"), std::string_view("statistics"), nul,
        std::string_view("help me")}) {
    EXPECT_TRUE(lines_.answer(line).starts_with("error: ")) << line;
  }
  EXPECT_EQ(count_, 0u);
}

TEST_F(ControlLinesTest, AnswersArePrintableWhateverIsAsked) {
  const std::string answer = lines_.answer("\x1b[2J\x01\xff" + std::string(5000, '\x7f'));
  EXPECT_TRUE(answer.starts_with("error: '?[2J??"));
  EXPECT_LT(answer.size(), 100u);
}

TEST_F(ControlLinesTest, FailuresAreOneLine) {
  is_failing_ = true;
  EXPECT_EQ(lines_.answer("power-button"), "error: it?failed");
  EXPECT_EQ(lines_.answer("balloon-statistics"), "error: it?failed");
}

}  // namespace
}  // namespace doppel
