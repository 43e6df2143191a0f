// Judge: runs a block in one of several ways and says what differs from what it should do.
#pragma once

#include <memory>

#include "tests/blocks/machine.h"
#include "tests/blocks/native_runner.h"
#include "tests/differential/compare.h"
#include "tests/differential/random.h"

namespace doppel::blocks {

enum class Way : u8 {
  kInterpreter,  // against the host
  kTranslator,   // all others: against the interpreter
  kSingle,
  kUnlinked,
  kCounted,
  kFlush,       // everything translated is dropped before and in between
  kStops,       // stopped at each instruction boundary
  kInterrupts,  // interrupted at each instruction boundary, then resumed
  kAnyTime,     // interrupted in the middle of translated code: at some boundary behind it
  kWays,
};
inline constexpr unsigned kWayCount = static_cast<unsigned>(Way::kWays);
const char* name_of(Way way);

// Owned by a worker process. place() once, start() for each initial state, then any ways.
class Judge {
 public:
  static Result<std::unique_ptr<Judge>> create();

  void place(const Block& block);
  // Runs what the ways are compared with. False: the block never ends.
  bool start(const Start& start, u64 seed);
  // What differs, a line each; empty: nothing.
  std::vector<std::string> judge(Way way);
  const Ending& by_host() const { return by_host_; }
  // Of the last start().
  const Ending& expected() const { return by_interpreter_; }

 private:
  using Lines = std::vector<std::string>;
  Lines against_host();
  Lines whole(Machine& machine);
  Lines flush();
  Lines stops(bool interrupts);
  Lines any_time();
  Lines compare(const Ending& expected, const Ending& got) const;
  Lines compare_states(const UserState& expected, const UserState& got) const;
  Mask mask_of(const Ending& expected) const;
  // Whether the host and the interpreter may differ: one of the instructions that the interpreter executes is
  // not one that this test compares.
  bool runs_incomparable();
  bool is_incomparable(const Instruction& instruction, const UserState& state) const;
  // All states between two instructions, by the interpreter.
  void trace();
  bool choose_stop(u64 index) {
    return boundaries_.size() < 24 || random_.below(boundaries_.size()) < 16 || index == 1;
  }
  Machine& machine(Engine engine) { return *machines_[static_cast<unsigned>(engine)]; }

  const Decoder& decoder() const { return decoders_[block_->is_compat ? 1 : 0]; }

  const Decoder decoders_[2] = {Decoder(false), Decoder(true)};
  std::unique_ptr<NativeRunner> native_;
  std::unique_ptr<Machine> machines_[kEngineCount];
  const Block* block_ = nullptr;
  const Start* start_ = nullptr;
  Random random_{0};
  Ending by_host_;
  Ending by_interpreter_;
  Ending got_;
  std::vector<UserState> boundaries_;
};

}  // namespace doppel::blocks
