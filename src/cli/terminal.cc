// Raw mode, the Ctrl-A escape, signals and the reading thread.
#include "cli/terminal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace doppel {
namespace {

constexpr u8 kEscape = 1;       // Ctrl-A
constexpr int kRetryTime = 20;  // milliseconds until input that was not taken is offered again

}  // namespace

Terminal::~Terminal() { stop(); }

Result<void> Terminal::start(Typed typed, std::function<void()> quit,
                             std::function<void()> press_power_button) {
  typed_ = std::move(typed);
  quit_ = std::move(quit);
  press_power_button_ = std::move(press_power_button);
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_.is_valid()) return fail("console: eventfd: {}", std::strerror(errno));
  TRY_VOID(watch_signals());
  make_raw();
  report_size();
  reader_ = std::thread([this] { read_loop(); });
  return {};
}

Result<void> Terminal::watch_signals() {
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGPWR}) ::sigaddset(&watched, signal);
  if (report_) ::sigaddset(&watched, SIGUSR1);
  if (resized_) ::sigaddset(&watched, SIGWINCH);
  signals_ = UniqueFd(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.is_valid()) return fail("console: signalfd: {}", std::strerror(errno));
  ::pthread_sigmask(SIG_BLOCK, &watched, &saved_signals_);
  return {};
}

void Terminal::make_raw() {
  if (::isatty(STDIN_FILENO) == 0 || ::tcgetattr(STDIN_FILENO, &saved_) != 0) return;
  termios raw = saved_;
  ::cfmakeraw(&raw);
  is_raw_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void Terminal::stop() {
  if (reader_.joinable()) {
    const u64 one = 1;
    if (::write(wake_.get(), &one, sizeof(one)) < 0) return;  // eventfd writes of 1 do not fail
    reader_.join();
  }
  if (is_raw_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
  is_raw_ = false;
  if (signals_.is_valid()) ::pthread_sigmask(SIG_SETMASK, &saved_signals_, nullptr);
  signals_ = UniqueFd();
}

void Terminal::read_loop() {
  bool has_input = true;
  for (;;) {
    // poll() ignores negative descriptors: no input while some waits to be taken, or after its end.
    const int input = has_input && waiting_.empty() ? STDIN_FILENO : -1;
    pollfd files[3] = {{wake_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {input, POLLIN, 0}};
    if (::poll(files, 3, waiting_.empty() ? -1 : kRetryTime) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (files[0].revents != 0) return;
    if (files[1].revents != 0) take_signal();
    if (files[2].revents != 0) has_input = read_input();
    offer_waiting();
  }
}

bool Terminal::read_input() {
  u8 buffer[256];
  const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof(buffer));
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (got <= 0) return false;  // the guest goes on without
  handle({buffer, static_cast<std::size_t>(got)});
  return true;
}

void Terminal::handle(std::span<const u8> input) {
  for (const u8 character : input) {
    if (!is_raw_) {
      waiting_.push_back(character);
    } else if (!has_escape_) {
      has_escape_ = character == kEscape;
      if (!has_escape_) waiting_.push_back(character);
    } else {
      has_escape_ = false;
      if (character == 'x' || character == 'X') quit_();
      if (character == 'a' || character == 'A' || character == kEscape) waiting_.push_back(kEscape);
    }
  }
}

void Terminal::offer_waiting() {
  if (waiting_.empty()) return;
  const std::size_t taken = typed_(waiting_);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
}

void Terminal::take_signal() {
  signalfd_siginfo information;
  if (::read(signals_.get(), &information, sizeof(information)) != sizeof(information)) return;
  const int signal = static_cast<int>(information.ssi_signo);
  if (signal == SIGPWR) return press_power_button_();
  if (signal == SIGUSR1) return report_();
  if (signal == SIGWINCH) return report_size();
  received_signal_ = signal;
  quit_();
}

void Terminal::report_size() {
  winsize size = {};
  if (!resized_ || ::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) return;
  if (size.ws_col != 0 && size.ws_row != 0) resized_(size.ws_col, size.ws_row);
}

void Terminal::put(std::span<const u8> characters) {
  while (!characters.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, characters.data(), characters.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {
      // Someone else who has the same terminal open made it non-blocking.
      pollfd output = {STDOUT_FILENO, POLLOUT, 0};
      ::poll(&output, 1, -1);
      continue;
    }
    if (written <= 0) return;  // nobody reads the console any more
    characters = characters.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace doppel
