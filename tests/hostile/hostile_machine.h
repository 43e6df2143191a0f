// HostileMachine: a whole machine around a made-up guest, and the promises that hold whatever the guest does.
#pragma once

#include <memory>

#include "machine/machine.h"
#include "tests/hostile/choices.h"

namespace doppel::hostile {

// A machine on instruction time without a guest. Owned by one test or one fuzzer run; single-threaded. Ends
// the process with a message when a promise is broken.
class HostileMachine {
 public:
  HostileMachine();

  Machine& machine() { return *machine_; }
  GuestMemory& memory() { return machine_->memory(); }

  void start(const CpuState& state) { machine_->vcpu().load(state); }
  // Runs at most `instructions`, however the guest ends or halts; checks that the limit is kept.
  RunEnd run(u64 instructions);
  // A random guest for about `instructions`, with interrupts, console input and resets from outside.
  void run_random(Choices& choices, u64 instructions);
  // The saved state, loaded into a fresh machine, is the same state.
  void check_state_survives();
  u64 console_bytes() const { return console_.bytes; }

 private:
  // Counts what the guest prints.
  struct Console final : CharacterSink {
    void put(std::span<const u8> characters) override { bytes += characters.size(); }
    u64 bytes = 0;
  };

  Console console_;
  std::unique_ptr<Machine> machine_;
};

}  // namespace doppel::hostile
