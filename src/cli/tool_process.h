// Runs a program of the host to its end, line by line, without a shell.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace doppel {

// Holds back SIGINT, SIGTERM and SIGHUP for as long as it exists, so that a command can clean up before it
// ends. Owned by the command; used on its one thread.
class Interrupts {
 public:
  static Result<Interrupts> create();
  Interrupts(Interrupts&& other) noexcept = default;
  Interrupts& operator=(Interrupts&&) = delete;
  ~Interrupts();

  int fd() const { return fd_.get(); }
  // Takes a signal that came, without waiting; the number of the first one so far, or 0.
  int poll_signal();

 private:
  Interrupts(UniqueFd fd, sigset_t saved) : fd_(std::move(fd)), saved_(saved) {}

  UniqueFd fd_;  // a signalfd; invalid in an object that was moved from
  sigset_t saved_ = {};
  int received_ = 0;
};

struct ToolResult {
  int status = 0;         // exit status; 128 + n when signal n ended the program
  std::string complaint;  // its first line that begins with "E: ", as apt reports errors, else its last line
};

using LineCallback = std::function<void(const std::string&)>;

// Where the program is: PATH, then the folders of system administration. A missing one is an error that
// names the Debian package to install.
Result<std::string> find_tool(const std::string& name, const std::string& package);

// Runs `arguments` (the first is the program's path) with standard input empty, and calls `on_line` for each
// line of its output and errors. A signal is passed on to the program and everything it started. An error
// only when the program could not be started.
Result<ToolResult> run_tool(const std::vector<std::string>& arguments, Interrupts& interrupts,
                            const LineCallback& on_line);

}  // namespace doppel
