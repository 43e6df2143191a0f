// Programs of the host: output, failure, absence, interruption.
#include "cli/tool_process.h"

#include <gtest/gtest.h>
#include <csignal>

namespace doppel {
namespace {

struct ToolProcess : ::testing::Test {
  Interrupts interrupts = Interrupts::create().value();
  std::vector<std::string> lines;
  LineCallback collect = [this](const std::string& line) { lines.push_back(line); };

  ToolResult run_script(const std::string& script) {
    return run_tool({"/bin/sh", "-c", script}, interrupts, collect).value();
  }
};

TEST_F(ToolProcess, OutputAndErrorsComeAsLines) {
  EXPECT_EQ(run_script("echo one; echo two >&2; printf three").status, 0);
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"}));
}

TEST_F(ToolProcess, StandardInputIsEmpty) {
  EXPECT_EQ(run_script("cat").status, 0);
  EXPECT_TRUE(lines.empty());
}

TEST_F(ToolProcess, FailureNamesTheFirstError) {
  const ToolResult result =
      run_script("echo begin; echo 'E: no such suite'; echo 'E: apt failed'; echo end; exit 25");
  EXPECT_EQ(result.status, 25);
  EXPECT_EQ(result.complaint, "E: no such suite");
}

TEST_F(ToolProcess, FailureWithoutErrorLineNamesTheLastLine) {
  EXPECT_EQ(run_script("echo begin; echo end; exit 1").complaint, "end");
}

TEST_F(ToolProcess, DeathBySignalIsCountedAsShellsDo) { EXPECT_EQ(run_script("kill -9 $$").status, 137); }

TEST_F(ToolProcess, MessagesAreInEnglish) {
  run_script("echo $LC_ALL");
  EXPECT_EQ(lines, std::vector<std::string>{"C.UTF-8"});
}

TEST_F(ToolProcess, ProgramThatCannotStartIsAnError) {
  EXPECT_FALSE(run_tool({"/nonexistent/program"}, interrupts, collect));
}

TEST_F(ToolProcess, SignalIsPassedOnToEverythingThatWasStarted) {
  ::kill(::getpid(), SIGTERM);
  EXPECT_EQ(run_script("sleep 100 & wait").status, 128 + SIGTERM);
  EXPECT_EQ(interrupts.poll_signal(), SIGTERM);
}

TEST(FindTool, ToolsAreFoundOnThePath) { EXPECT_TRUE(find_tool("sh", "dash")); }

TEST(FindTool, AbsenceNamesThePackage) {
  const auto found = find_tool("no-such-tool", "some-package");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message, "no-such-tool is not installed; install the Debian package some-package");
}

}  // namespace
}  // namespace doppel
