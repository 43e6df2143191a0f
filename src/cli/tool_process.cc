// Starting, reading, interrupting and reaping programs of the host.
#include "cli/tool_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace doppel {
namespace {

constexpr const char* kSystemFolders = "/usr/local/sbin:/usr/sbin:/sbin";
constexpr std::array kEndingSignals = {SIGINT, SIGTERM, SIGHUP};

std::string search_path() {
  const char* path = std::getenv("PATH");
  return fmt::format("{}:{}", path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin", kSystemFolders);
}

// The caller's environment, but with messages in English and the folders of system administration.
std::vector<std::string> tool_environment() {
  std::vector<std::string> result = {"LC_ALL=C.UTF-8", "PATH=" + search_path()};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (!text.starts_with("LC_ALL=") && !text.starts_with("PATH=")) result.emplace_back(text);
  }
  return result;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// The attributes and file actions of one posix_spawn, destroyed with it.
class SpawnSettings {
 public:
  explicit SpawnSettings(int output) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDERR_FILENO);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    // A group of its own: Ctrl-C reaches us only, and we pass it on once to all of the group.
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(&attributes_,
                               POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  posix_spawn_file_actions_t* actions() { return &actions_; }
  posix_spawnattr_t* attributes() { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_ = {};
  posix_spawnattr_t attributes_ = {};
};

// Cuts a program's output into lines and remembers its complaint.
class LineReader {
 public:
  explicit LineReader(const LineCallback& on_line) : on_line_(on_line) {}

  void add(std::string_view text) {
    for (const char character : text) {
      if (character == '\n' || character == '\r')
        end_line();
      else if (line_.size() < kLongestLine)
        line_.push_back(character);
    }
  }
  void end_line() {
    if (line_.empty()) return;
    on_line_(line_);
    if (!has_error_) complaint_ = line_;
    has_error_ = has_error_ || line_.starts_with("E: ");
    line_.clear();
  }
  const std::string& complaint() const { return complaint_; }

 private:
  static constexpr std::size_t kLongestLine = 4096;

  const LineCallback& on_line_;
  std::string line_;
  std::string complaint_;
  bool has_error_ = false;
};

void read_output(int output, pid_t group, Interrupts& interrupts, LineReader& lines) {
  std::array<char, 4096> buffer;
  for (;;) {
    pollfd files[2] = {{output, POLLIN, 0}, {interrupts.fd(), POLLIN, 0}};
    if (::poll(files, 2, -1) < 0) continue;  // EINTR
    if (files[1].revents != 0) {
      const int signal = interrupts.poll_signal();
      if (signal != 0) ::kill(-group, signal);
    }
    if (files[0].revents == 0) continue;
    const ssize_t got = ::read(output, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    lines.add({buffer.data(), static_cast<std::size_t>(got)});
  }
  lines.end_line();
}

int wait_for_end(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Result<Interrupts> Interrupts::create() {
  sigset_t ending;
  ::sigemptyset(&ending);
  for (const int signal : kEndingSignals) ::sigaddset(&ending, signal);
  UniqueFd fd(::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.is_valid()) return fail("signalfd: {}", std::strerror(errno));
  sigset_t saved;
  ::pthread_sigmask(SIG_BLOCK, &ending, &saved);
  return Interrupts(std::move(fd), saved);
}

Interrupts::~Interrupts() {
  if (fd_.is_valid()) ::pthread_sigmask(SIG_SETMASK, &saved_, nullptr);
}

int Interrupts::poll_signal() {
  signalfd_siginfo information;
  if (::read(fd_.get(), &information, sizeof(information)) == sizeof(information) && received_ == 0) {
    received_ = static_cast<int>(information.ssi_signo);
  }
  return received_;
}

Result<std::string> find_tool(const std::string& name, const std::string& package) {
  const std::string path = search_path();
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    std::string candidate = fmt::format("{}/{}", path.substr(begin, end - begin), name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return fail("{} is not installed; install the Debian package {}", name, package);
}

Result<ToolResult> run_tool(const std::vector<std::string>& arguments, Interrupts& interrupts,
                            const LineCallback& on_line) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail("pipe: {}", std::strerror(errno));
  const UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  SpawnSettings settings(input.get());
  const std::vector<std::string> environment = tool_environment();
  pid_t child = 0;
  const int error = ::posix_spawn(&child, arguments[0].c_str(), settings.actions(), settings.attributes(),
                                  pointers(arguments).data(), pointers(environment).data());
  if (error != 0) return fail("cannot start {}: {}", arguments[0], std::strerror(error));
  input.reset();
  LineReader lines(on_line);
  read_output(output.get(), child, interrupts, lines);
  return ToolResult{wait_for_end(child), lines.complaint()};
}

}  // namespace doppel
