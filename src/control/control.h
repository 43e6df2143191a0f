// Control: the only door into a machine.
#pragma once

#include <memory>
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

// Writes all counters to a file in Prometheus' text format, whole or not at all; a failure is logged, and
// answered with 0 instead of 1.
struct WriteStatistics {
  std::string path;
};
// Goes on with another engine; a machine that cannot stays as it is. Answered with 1 when it changed.
struct SwitchEngine {
  std::optional<Engine> engine;  // nothing: the other one
};

using Command =
    std::variant<TypeCharacters, PressPowerButton, Quit, QuitFromConsole, WriteStatistics, SwitchEngine>;

// Owns the machine. Command line, API and tests make a machine here and reach into it by commands only.
// execute() may be called from any thread; the rest from the one that runs the machine, while it does not
// run.
class Control {
 public:
  // `console` gets what the guest prints and must outlive the machine.
  static Result<Control> create(const MachineConfig& config, CharacterSink& console);

  // For TypeCharacters the number of characters taken.
  std::size_t execute(const Command& command);
  // For debuggers; from any thread but the machine's own.
  Result<void> execute(const DebugCommand& command);
  // Before the machine runs.
  void set_debug_listener(DebugListener listener) { machine_->debugger().set_listener(std::move(listener)); }

  // Runs on the calling thread until the machine stops, at most `max_instructions` more.
  RunResult run(u64 max_instructions) { return machine_->run(max_instructions); }

  // For a person: a line a counter, then tables.
  std::string statistics_text();
  u64 state_hash() { return machine_->state_hash(); }
  // Registers and device state, a line a field.
  std::string state_text();

 private:
  explicit Control(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}

  std::unique_ptr<Machine> machine_;
};

}  // namespace doppel
