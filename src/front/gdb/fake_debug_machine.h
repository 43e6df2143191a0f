// A machine for tests of the debugger: registers, one page of memory, and a record of what was asked.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "control/debug_command.h"

namespace doppel::gdb {

// Owned by a test, which looks into it. Memory is the page at kMemory, the same for every CPU.
class FakeDebugMachine {
 public:
  static constexpr u64 kMemory = 0x10000;

  Result<void> execute(const DebugCommand& command) {
    return std::visit([this](const auto& one) { return take(one); }, command);
  }
  DebugPort port() {
    return [this](const DebugCommand& command) { return execute(command); };
  }

  unsigned cpus = 2;
  std::array<DebugRegisters, 4> registers = {};
  std::array<u8, kPageSize> memory = {};
  DebugControl stops;
  std::vector<DebugMotion> motions;  // of the last resume
  unsigned pauses = 0;
  bool is_detached = false;
  bool has_quit = false;
  bool refuses_stops = false;

 private:
  bool is_inside(GuestVirt address, std::size_t size) const {
    const u64 offset = address.value() - kMemory;
    return offset < memory.size() && size <= memory.size() - offset;
  }
  Result<void> take(const PauseForDebug&) {
    ++pauses;
    return {};
  }
  Result<void> take(const ResumeForDebug& command) {
    motions = command.motions;
    return {};
  }
  Result<void> take(const SetDebugStops& command) {
    if (refuses_stops && !command.stops.is_empty()) return fail("no more debug registers");
    stops = command.stops;
    return {};
  }
  Result<void> take(const ReadRegisters& command) {
    command.out = registers[command.cpu];
    return {};
  }
  Result<void> take(const WriteRegisters& command) {
    registers[command.cpu] = command.registers;
    return {};
  }
  Result<void> take(const ReadMemory& command) {
    if (!is_inside(command.address, command.out.size())) return fail("not mapped");
    std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(command.address.value() - kMemory),
                command.out.size(), command.out.begin());
    return {};
  }
  Result<void> take(const WriteMemory& command) {
    if (!is_inside(command.address, command.data.size())) return fail("not mapped");
    std::ranges::copy(command.data,
                      memory.begin() + static_cast<std::ptrdiff_t>(command.address.value() - kMemory));
    return {};
  }
  Result<void> take(const Report& command) {
    command.out = "report on CPU " + std::to_string(command.cpu) + "\n";
    return {};
  }
  Result<void> take(const QuitFromDebug&) {
    has_quit = true;
    return {};
  }
  Result<void> take(const DetachDebugger&) {
    is_detached = true;
    return {};
  }
  Result<void> take(const CountCpus& command) {
    command.out = cpus;
    return {};
  }
};

}  // namespace doppel::gdb
