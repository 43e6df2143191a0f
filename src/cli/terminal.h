// Terminal: the user's terminal as the guest's serial console.
#pragma once

#include <termios.h>

#include <functional>
#include <span>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"
#include "devices/console.h"

namespace doppel {

// Standard input and output. On a terminal: raw mode, Ctrl-A x leaves, Ctrl-A Ctrl-A types Ctrl-A; otherwise a plain
// byte stream. Reads on a thread of its own and hands over what was typed; restores the terminal when destroyed.
class Terminal final : public CharacterSink {
 public:
  Terminal() = default;
  ~Terminal() override;
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // `typed` and `quit` are called on the reading thread.
  Result<void> start(std::function<void(std::span<const u8>)> typed, std::function<void()> quit);
  void stop();

  void put(std::span<const u8> characters) override;

 private:
  void read_loop();
  void handle(std::span<const u8> input);

  std::function<void(std::span<const u8>)> typed_;
  std::function<void()> quit_;
  std::thread reader_;
  UniqueFd wake_;  // eventfd that ends the reader
  termios saved_ = {};
  bool is_raw_ = false;
  bool has_escape_ = false;
};

}  // namespace doppel
