// Where the interpreter stops for a debugger.
#include "engine/interp/debug_stops.h"

#include <algorithm>

#include "engine/interp/interpreter.h"

namespace doppel::interp {

DebugStops::DebugStops() : watch_({}) {}

bool DebugStops::set_control(const DebugControl& control) {
  bool needs_guards = false;
  for (const GuestVirt breakpoint : control.breakpoints) {
    const u64 offset = breakpoint.page_offset();
    needs_guards |= !guarded_[offset];
    guarded_.set(offset);
  }
  watch_ = DataWatch(control.watchpoints);
  control_ = control;
  std::ranges::sort(control_.breakpoints);
  hit_.reset();
  repeats_ = false;
  return needs_guards;
}

bool DebugStops::reaches(u64 linear, u64 retired) {
  if (linear == reported_ && retired == reported_retired_) return false;
  if (!std::ranges::binary_search(control_.breakpoints, GuestVirt(linear))) return false;
  hit_ = DebugHit{DebugCause::kBreakpoint, GuestVirt(linear)};
  return true;
}

bool DebugStops::take_stop(u64 retired, Exit& exit) {
  std::optional<DebugHit> hit = watch_.take_hit();
  if (!hit) hit = std::exchange(hit_, std::nullopt);
  if (!hit && control_.steps && retired != first_retired_) hit = DebugHit{DebugCause::kStep, GuestVirt(0)};
  if (!hit) return false;
  if (hit->cause == DebugCause::kBreakpoint) {
    reported_ = hit->address.value();
    reported_retired_ = retired;
  }
  exit = {.reason = ExitReason::kDebug, .detail = {}, .debug = *hit};
  return true;
}

void DebugStops::enter(bool is_single) { watch_.set_deferring(!is_single && !watch_.is_empty()); }

void DebugStops::leave() {
  watch_.set_deferring(false);
  repeats_ = watch_.take_deferred();
}

void Interpreter::set_debug(const DebugControl& control) {
  const bool had_watch = data_watch != nullptr;
  data_watch = nullptr;
  if (debug == nullptr && control.is_empty()) return;
  if (debug == nullptr) debug = std::make_unique<DebugStops>();
  wants_flush |= debug->set_control(control);
  if (!control.watchpoints.empty()) data_watch = &debug->watch();
  mmu.set_data_watch(data_watch);
  if (had_watch || data_watch != nullptr) mmu.flush_all();
}

void Interpreter::begin_debugged_run() {
  if (!debug->is_idle()) return debug->start(instructions_retired());
  debug.reset();
  wants_flush = true;  // traces end at addresses that mean nothing any more
}

bool Interpreter::stops_at(u64 rip, unsigned charged) {
  remaining_in_trace = charged;
  const u64 linear = is_64bit ? rip : (state.segment(x86::kCs).base + rip) & 0xffffffff;
  return debug != nullptr && debug->reaches(linear, instructions_retired());
}

// One trace while a debugger is attached: as in run(), and what it waits for is noticed.
void Interpreter::run_debugged(const Trace& trace, bool is_single) {
  // Before anything is changed for an instruction that does not run yet.
  if (stops_at(state.rip, 0)) return;
  debug->enter(is_single);
  if (is_single) {
    run_single(trace);
    return debug->leave();
  }
  state.rflags &= ~x86::kFlagRf;
  run_trace(trace);
  debug->leave();
  if (has_fault) deliver_fault();
}

}  // namespace doppel::interp
