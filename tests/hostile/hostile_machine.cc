// Runs made-up guests and checks the promises.
#include "tests/hostile/hostile_machine.h"

#include <ctime>

#include "base/verify.h"
#include "state/state_buffer.h"
#include "state/state_digest.h"
#include "tests/hostile/layout.h"
#include "tests/hostile/random_guest.h"

namespace doppel::hostile {
namespace {

// A guest may make one instruction cost 65,536 string elements; more than this for a few hundred is a hang.
constexpr double kMaxSeconds = 15;
constexpr u64 kChunk = 256;

double processor_seconds() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::unique_ptr<Machine> make_machine(CharacterSink& console) {
  const MachineConfig config{.boot = {}, .memory_bytes = kMemoryBytes, .clock = ClockSource::kInstructions};
  auto machine = Machine::create_empty(config, console);
  VERIFY(machine.has_value());
  return std::move(*machine);
}

std::vector<u8> save(Machine& machine) {
  StateSaver saver;
  machine.visit_state(saver);
  return saver.take();
}

}  // namespace

HostileMachine::HostileMachine() : machine_(make_machine(console_)) {}

RunEnd HostileMachine::run(u64 instructions) {
  const u64 first = machine_->vcpu().instructions_retired();
  const double start = processor_seconds();
  RunEnd end = RunEnd::kInstructionLimit;
  for (u64 done = 0; done < instructions;) {
    const u64 step = std::min(kChunk, instructions - done);
    end = machine_->run(step, WhenHalted::kReturn).end;
    const u64 retired = machine_->vcpu().instructions_retired() - first;
    VERIFY(retired <= done + step);
    VERIFY(end != RunEnd::kInstructionLimit || retired == done + step);
    VERIFY(processor_seconds() - start < kMaxSeconds * (1 + static_cast<double>(instructions) / 4096));
    if (end != RunEnd::kInstructionLimit) break;
    done = retired;
  }
  return end;
}

void HostileMachine::run_random(Choices& choices, u64 instructions) {
  start(make_random_guest(memory(), machine_->cpuid(), choices));
  const double start_time = processor_seconds();
  const u64 last = machine_->vcpu().instructions_retired() + instructions;
  for (unsigned halts = 0; halts < 64 && processor_seconds() - start_time < 2;) {
    const u64 now = machine_->vcpu().instructions_retired();
    if (now >= last) break;
    const RunEnd end = run(std::min(last - now, 1 + choices.below(kChunk)));
    if (end == RunEnd::kHalted)
      ++halts;
    else if (end != RunEnd::kInstructionLimit)
      break;
    if (choices.percent(10)) machine_->vcpu().notify_nmi();
    if (choices.percent(10)) machine_->vcpu().notify_interrupt();
    if (choices.percent(5)) machine_->vcpu().invalidate(GuestPhys(kCode), kCodeBytes);
    if (choices.percent(5)) machine_->press_power_button();
    const u8 typed[] = {static_cast<u8>(choices.next())};
    if (choices.percent(5)) machine_->console_input(typed);
  }
}

void HostileMachine::check_state_survives() {
  const std::vector<u8> saved = save(*machine_);
  Console console;
  const std::unique_ptr<Machine> copy = make_machine(console);
  StateLoader loader(saved);
  copy->visit_state(loader);
  if (const auto result = loader.finish(); !result) {
    std::fprintf(stderr, "saved state is refused: %s\n", result.error().message.c_str());
    VERIFY(result.has_value());
  }
  if (copy->state_hash() != machine_->state_hash()) {
    StatePrinter before, after;
    machine_->visit_state(before, StateScope::kRegisters);
    copy->visit_state(after, StateScope::kRegisters);
    std::fprintf(stderr, "--- saved\n%s--- loaded\n%s", before.text().c_str(), after.text().c_str());
    VERIFY(copy->state_hash() == machine_->state_hash());
  }
}

}  // namespace doppel::hostile
