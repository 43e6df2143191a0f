// Terminal: the user's terminal as the guest's serial console, and the signals that end a run.
#pragma once

#include <termios.h>
#include <csignal>

#include <functional>
#include <span>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "devices/console.h"

namespace doppel {

// Standard input and output. On a terminal: raw mode, Ctrl-A x leaves, Ctrl-A a (or Ctrl-A twice) types
// Ctrl-A; otherwise a plain byte stream. Reads on a thread of its own and hands over what was typed. SIGTERM,
// SIGHUP, SIGINT and SIGQUIT leave like Ctrl-A x, so that the terminal is always restored; SIGPWR presses the
// power button. Owned by the command that runs the machine.
class Terminal final : public CharacterSink {
 public:
  // Takes a prefix of what was typed and returns its length; the rest is offered again.
  using Typed = std::function<std::size_t(std::span<const u8>)>;

  Terminal() = default;
  ~Terminal() override;
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // All are called on the reading thread. To be called before other threads exist: they must not take the
  // signals.
  Result<void> start(Typed typed, std::function<void()> quit, std::function<void()> press_power_button);
  // What SIGUSR1 means, on the reading thread; before start().
  void on_report_signal(std::function<void()> callback) { report_ = std::move(callback); }
  // The size of the terminal on standard input, at start() and when it changes; before start().
  void on_resize(std::function<void(u16 columns, u16 rows)> callback) { resized_ = std::move(callback); }
  void stop();
  // The signal that made us leave; 0 if none did. After stop().
  int received_signal() const { return received_signal_; }

  void put(std::span<const u8> characters) override;

 private:
  Result<void> watch_signals();
  void make_raw();
  void read_loop();
  // False at the end of input.
  bool read_input();
  void handle(std::span<const u8> input);
  void offer_waiting();
  void take_signal();
  void report_size();

  Typed typed_;
  std::function<void()> quit_;
  std::function<void()> press_power_button_;
  std::function<void()> report_;
  std::function<void(u16 columns, u16 rows)> resized_;
  std::thread reader_;
  UniqueFd wake_;     // eventfd that ends the reader
  UniqueFd signals_;  // signalfd
  sigset_t saved_signals_ = {};
  termios saved_ = {};
  bool is_raw_ = false;
  bool has_escape_ = false;
  std::vector<u8> waiting_;  // typed, but not yet taken
  int received_signal_ = 0;
};

}  // namespace doppel
