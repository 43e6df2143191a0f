// Control: the only door into a machine.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "control/debug_command.h"
#include "machine/machine.h"

namespace doppel {

// Characters typed at the guest's serial console; answered with how many were taken.
struct TypeCharacters {
  std::span<const u8> characters;
};
struct PressPowerButton {};
struct Quit {};
// Quit from inside a CharacterSink, where the machine's device lock is held.
struct QuitFromConsole {};

// Writes all counters to a file in Prometheus' text format, whole or not at all.
struct WriteStatistics {
  std::string path;
};
// Goes on with another engine; a machine that cannot stays as it is.
struct SwitchEngine {
  std::optional<Engine> engine;  // nothing: the next one of those that can run the machine
};

// How much memory the guest should give to the host.
struct SetBalloon {
  u64 bytes;
};
// Asks the guest's driver and waits for its answer, up to two seconds.
struct ReadBalloonStatistics {
  BalloonReport& out;
};
// The size of the terminal that shows a virtio console.
struct ResizeTerminal {
  u16 columns;
  u16 rows;
};

using Command = std::variant<TypeCharacters, PressPowerButton, Quit, QuitFromConsole, WriteStatistics,
                             SwitchEngine, SetBalloon, ReadBalloonStatistics, ResizeTerminal>;

// Carries a command out as Control::execute() does.
using CommandPort = std::function<Result<std::size_t>(const Command&)>;

// Owns the machine. Command line, API and tests make a machine here and reach into it by commands only.
// execute() may be called from any thread; the rest from the one that runs the machine, while it does not
// run.
class Control {
 public:
  // `console` gets what the guest prints and must outlive the machine.
  static Result<Control> create(const MachineConfig& config, CharacterSink& console);

  // For TypeCharacters the number of characters taken, else 0. Errors are one line for whoever gave the
  // command.
  Result<std::size_t> execute(const Command& command);
  // For debuggers; from any thread but the machine's own.
  Result<void> execute(const DebugCommand& command);
  // Before the machine runs.
  void set_debug_listener(DebugListener listener) { machine_->debugger().set_listener(std::move(listener)); }

  // Runs on the calling thread until the machine stops, at most `max_instructions` more.
  RunResult run(u64 max_instructions) { return machine_->run(max_instructions); }

  // For a person: a line a counter, then tables.
  std::string statistics_text();
  // Where the guest's time went, a line a function; empty when nobody asked for a profile.
  std::string profile_text() { return machine_->profile_text(); }
  u64 state_hash() { return machine_->state_hash(); }
  // Registers and device state, a line a field.
  std::string state_text();

 private:
  explicit Control(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}

  std::unique_ptr<Machine> machine_;
  // Held by commands that two threads must not carry out at once; taken before any lock of the machine.
  std::unique_ptr<std::mutex> one_at_a_time_ = std::make_unique<std::mutex>();
};

}  // namespace doppel
