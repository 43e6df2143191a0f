// DebugCommand: what a debugger may ask of a machine.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "machine/debug_types.h"

namespace doppel {

// Stops every vCPU; done when they stand still. Nothing is reported to the listener.
struct PauseForDebug {};
// Lets the machine run, each vCPU in its own way; missing entries hold. The listener hears of its first stop.
struct ResumeForDebug {
  std::vector<DebugMotion> motions;
};
// What all vCPUs stop for from the next ResumeForDebug on; DebugControl::steps is not used.
struct SetDebugStops {
  DebugControl stops;
};
// The following need a machine that stands still.
struct ReadRegisters {
  unsigned cpu;
  DebugRegisters& out;
};
struct WriteRegisters {
  unsigned cpu;
  const DebugRegisters& registers;
};
// By guest-virtual address, as vCPU `cpu` would translate it, whatever the page's rights. All or nothing.
struct ReadMemory {
  unsigned cpu;
  GuestVirt address;
  std::span<u8> out;
};
struct WriteMemory {
  unsigned cpu;
  GuestVirt address;
  std::span<const u8> data;
};
// A text for a person about a vCPU.
enum class DebugReport : u8 { kRegisters, kExits, kLocalApic, kTlb };
struct Report {
  DebugReport what;
  unsigned cpu;
  std::string& out;
};
// Ends the machine.
struct QuitFromDebug {};
// Forgets all stops, and lets the machine run without a debugger.
struct DetachDebugger {};
struct CountCpus {
  unsigned& out;
};

using DebugCommand = std::variant<PauseForDebug, ResumeForDebug, SetDebugStops, ReadRegisters, WriteRegisters,
                                  ReadMemory, WriteMemory, Report, QuitFromDebug, DetachDebugger, CountCpus>;

// Carries a command out; its error is for the debugger's user.
using DebugPort = std::function<Result<void>(const DebugCommand&)>;

}  // namespace doppel
