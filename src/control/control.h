// Control: the only door into a machine.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

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

// Goes on with another engine; a machine that cannot stays as it is. Answered with 1 when it changed.
struct SwitchEngine {
  std::optional<Engine> engine;  // nothing: the other one
};

using Command = std::variant<TypeCharacters, PressPowerButton, Quit, QuitFromConsole, SwitchEngine>;

// Owns the machine. Command line, API and tests make a machine here and reach into it by commands only.
// execute() may be called from any thread; the rest from the one that runs the machine, while it does not
// run.
class Control {
 public:
  // `console` gets what the guest prints and must outlive the machine.
  static Result<Control> create(const MachineConfig& config, CharacterSink& console);

  // For TypeCharacters the number of characters taken, else 0.
  std::size_t execute(const Command& command);

  // Runs on the calling thread until the machine stops, at most `max_instructions` more.
  RunResult run(u64 max_instructions) { return machine_->run(max_instructions); }

  std::string statistics_text() const { return machine_->statistics_text(); }
  u64 state_hash() { return machine_->state_hash(); }
  // Registers and device state, a line a field.
  std::string state_text();

 private:
  explicit Control(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}

  std::unique_ptr<Machine> machine_;
};

}  // namespace doppel
