// All vCPUs in turns on one thread, with the clock that counts instructions.
#include <algorithm>

#include "machine/vcpu_set.h"

namespace doppel {
namespace {

// A vCPU's slice while others wait; part of what makes runs repeat.
constexpr u64 kTurnInstructions = 20'000;

}  // namespace

// A single vCPU is never asked to make room.
u64 VcpuSet::turn_length() const { return count() == 1 ? ~u64{0} : kTurnInstructions; }

void VcpuSet::next_turn() { turn_ = {(turn_.cpu + 1) % count(), turn_length()}; }

// Up to the next timer or input point, the end of the turn or of the run.
RunLimit VcpuSet::next_limit() {
  u64 limit = std::min(last_ - retired_, turn_.left);
  const Nanoseconds now = timers_.now();
  slice_end_ = timers_.next_deadline();
  if (slice_end_ != Timer::kNever) {
    limit = std::min(limit, slice_end_ <= now ? 1 : static_cast<u64>((slice_end_ - now).count()));
  }
  if (has_inputs()) limit = std::min(limit, static_cast<u64>((input_points_->next() - now).count()));
  return {limit, true};
}

// All vCPUs halt: the next timer, or something from outside.
Nanoseconds VcpuSet::idle_until(Lock& lock) {
  const Nanoseconds deadline = timers_.next_deadline();
  if (!has_inputs()) return deadline;
  return input_points_->idle_until(lock, timers_.now(), deadline,
                                   [this] { return is_ending_ || quits_ || pauses_ != 0; });
}

// One retired instruction of any vCPU is one nanosecond. When all halt, time moves to the next timer.
RunResult VcpuSet::run_in_turns(u64 max_instructions, WhenHalted when_halted, InstructionInputs& inputs) {
  Lock lock(buses_.device_lock);
  begin_run(max_instructions, when_halted);
  if (turn_.left == 0) turn_.left = turn_length();
  unsigned halted = 0;  // vCPUs in a row that had nothing to do
  while (prepare(*cpus_[turn_.cpu], lock)) {
    if (has_inputs()) input_points_->pass(timers_.now());
    MachineCpu& cpu = *cpus_[turn_.cpu];
    const u64 before = cpu.counted;
    const Exit exit = cpu.is_held ? Exit{ExitReason::kHalted, {}} : enter(cpu, next_limit(), lock);
    const u64 retired = cpu.counted - before;
    if (count() != 1) turn_.left -= std::min(turn_.left, retired);
    if (exit.reason == ExitReason::kShutdown) end({RunEnd::kTripleFault, 0});
    // Instructions may have given others something to do.
    if (retired != 0) halted = 0;
    if (exit.reason != ExitReason::kHalted) {
      halted = 0;
      if (turn_.left == 0) next_turn();
      continue;
    }
    if (cpu.platform.paravirt().take_kick()) {
      cpu.engine->end_halt();
      halted = 0;
      continue;
    }
    next_turn();
    if (++halted < count() || is_ending_ || quits_) continue;
    halted = 0;
    turn_ = {0, turn_length()};
    const Nanoseconds deadline = idle_until(lock);
    if (has_inputs() && (is_ending_ || quits_ || pauses_ != 0)) continue;
    if (deadline == Timer::kNever) return {RunEnd::kHalted, 0};
    inputs.skip_to(deadline);
    // Time has an end: see InstructionInputs::kLatest.
    if (timers_.now() < deadline || when_halted == WhenHalted::kReturn) return {RunEnd::kHalted, 0};
  }
  return result_;
}

void VcpuSet::visit_state(StateVisitor& visitor) {
  visitor.begin("turn");
  visitor.field("cpu", turn_.cpu);
  visitor.field("left", turn_.left);
  if (has_inputs()) input_points_->visit_state(visitor);
  visitor.end();
  if (!visitor.is_loading()) return;
  if (turn_.cpu >= count() || turn_.left > turn_length()) {
    turn_ = {};
    visitor.reject("impossible turn of a vCPU");
  }
}

}  // namespace doppel
