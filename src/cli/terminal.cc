// Raw mode, the Ctrl-A escape and the reading thread.
#include "cli/terminal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace doppel {
namespace {

constexpr u8 kEscape = 1;  // Ctrl-A

}  // namespace

Terminal::~Terminal() { stop(); }

Result<void> Terminal::start(std::function<void(std::span<const u8>)> typed, std::function<void()> quit) {
  typed_ = std::move(typed);
  quit_ = std::move(quit);
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_.is_valid()) return fail("console: eventfd: {}", std::strerror(errno));
  if (::isatty(STDIN_FILENO) != 0 && ::tcgetattr(STDIN_FILENO, &saved_) == 0) {
    termios raw = saved_;
    ::cfmakeraw(&raw);
    is_raw_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  reader_ = std::thread([this] { read_loop(); });
  return {};
}

void Terminal::stop() {
  if (reader_.joinable()) {
    const u64 one = 1;
    if (::write(wake_.get(), &one, sizeof(one)) < 0) return;  // eventfd writes of 1 do not fail
    reader_.join();
  }
  if (is_raw_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
  is_raw_ = false;
}

void Terminal::read_loop() {
  for (;;) {
    pollfd files[2] = {{STDIN_FILENO, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(files, 2, -1) < 0 && errno != EINTR) return;
    if (files[1].revents != 0) return;
    if (files[0].revents == 0) continue;
    u8 buffer[256];
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof(buffer));
    if (got <= 0) return;  // end of input: the guest goes on without
    handle({buffer, static_cast<std::size_t>(got)});
  }
}

void Terminal::handle(std::span<const u8> input) {
  if (!is_raw_) return typed_(input);
  std::vector<u8> passed;
  for (const u8 character : input) {
    if (!has_escape_ && character == kEscape) {
      has_escape_ = true;
      continue;
    }
    if (has_escape_ && (character == 'x' || character == 'X')) return quit_();
    has_escape_ = false;
    passed.push_back(character);
  }
  if (!passed.empty()) typed_(passed);
}

void Terminal::put(std::span<const u8> characters) {
  while (!characters.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, characters.data(), characters.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody reads the console any more
    characters = characters.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace doppel
