// DebugStops: a debugger's breakpoints, watchpoints and steps in the interpreter.
#pragma once

#include <bitset>
#include <optional>

#include "cpu/data_watch.h"
#include "cpu/vcpu.h"

namespace doppel::interp {

// Exists while a debugger asks for anything. Breakpoints need no change of guest memory: traces end in front
// of every instruction whose offset in its page is that of a breakpoint, and a trace that begins there starts
// with an op that looks at the address. Owned by one Interpreter and used on its thread.
class DebugStops {
 public:
  DebugStops();

  // True: traces built so far know too little and must go.
  bool set_control(const DebugControl& control);
  DataWatch& watch() { return watch_; }

  // Nothing is asked for any more. Kept until the vCPU runs on: debuggers take all breakpoints out at every
  // stop, and put them back.
  bool is_idle() const { return control_.is_empty(); }
  bool is_stepping() const { return control_.steps; }
  // Must the next instruction be executed by itself?
  bool is_single() const { return control_.steps || repeats_; }
  // May there be a breakpoint at this linear address? Stays true when the breakpoint goes.
  bool is_guarded(u64 linear) const { return guarded_[linear & kPageOffsetMask]; }

  // run() begins.
  void start(u64 retired) { first_retired_ = retired; }
  // At the instruction at `linear`, with `retired` before it: is it a breakpoint to be reported?
  bool reaches(u64 linear, u64 retired);
  // Between instructions: fills `exit` when there is something to report.
  bool take_stop(u64 retired, Exit& exit);

  // Around the execution of a trace.
  void enter(bool is_single);
  void leave();

 private:
  DebugControl control_;  // breakpoints sorted
  DataWatch watch_;
  std::bitset<kPageSize> guarded_;
  std::optional<DebugHit> hit_;
  bool repeats_ = false;  // an access was deferred: its instruction comes again, alone
  u64 first_retired_ = 0;
  // The breakpoint reported last, and when: not reported again before something else was executed.
  u64 reported_ = 0;
  u64 reported_retired_ = ~u64{0};
};

}  // namespace doppel::interp
