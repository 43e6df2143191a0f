// A machine whose first CPU is about to run 64-bit code, for tests of what engines do with it.
#pragma once

#include <span>

#include "cpu/flat_segment.h"
#include "machine/machine_bench.h"

namespace doppel::machine_test {

inline constexpr u64 kTables = 0x1000;       // page tables
inline constexpr u64 kDescriptors = 0x8000;  // global descriptor table, then
inline constexpr u64 kInterrupts = 0x9000;   // interrupt descriptor table
inline constexpr u64 kCode = 0x10000;
inline constexpr u64 kStack = 0x20000;
inline constexpr u64 kApicPage = 0xfee00000;

// `code` at kCode, privilege level 0, interrupts off. The first 2 MiB and the local APIC's registers are
// mapped where they are.
inline std::unique_ptr<Bench> long_mode(const MachineConfig& config, std::span<const u8> code) {
  std::unique_ptr<Bench> bench = empty(config);
  GuestMemory& memory = bench->machine->memory();
  memory.write_value(GuestPhys(kTables), u64{kTables + 0x1000} | 3);
  memory.write_value(GuestPhys(kTables + 0x1000), u64{kTables + 0x2000} | 3);
  memory.write_value(GuestPhys(kTables + 0x1000 + 3 * 8), u64{kTables + 0x3000} | 3);
  memory.write_value(GuestPhys(kTables + 0x2000), u64{0x83});
  memory.write_value(GuestPhys(kTables + 0x3000 + (kApicPage >> 21 & 511) * 8), kApicPage | 0x83);
  memory.write_value(GuestPhys(kDescriptors + 8), u64{0x00af9b000000ffff});   // selector 8: code
  memory.write_value(GuestPhys(kDescriptors + 16), u64{0x00cf93000000ffff});  // selector 16: data
  EXPECT_TRUE(memory.write(GuestPhys(kCode), code));
  CpuState state;
  bench->machine->vcpu().save(state);
  state.cr0 = x86::kCr0Pg | x86::kCr0Pe | x86::kCr0Wp;
  state.cr3 = kTables;
  state.cr4 = x86::kCr4Pae;
  state.efer = x86::kEferLme | x86::kEferLma | x86::kEferNxe;
  state.gdtr = {.base = kDescriptors, .limit = 23};
  state.idtr = {.base = kInterrupts, .limit = 0xfff};
  state.segments[x86::kCs] = flat_code_segment(8, 0, true);
  for (const unsigned segment : {x86::kSs, x86::kDs, x86::kEs})
    state.segments[segment] = flat_data_segment(16, 0);
  state.rip = kCode;
  state.gpr[x86::kRsp] = kStack;
  bench->machine->vcpu().load(state);
  return bench;
}

enum class Gate : u64 { kInterrupt = 14, kTrap = 15 };

// Where an interrupt leads to, below 4 GiB.
inline void set_gate(Bench& bench, unsigned vector, Gate gate, u64 handler) {
  const u64 low = (handler & 0xffff) | 8 << 16 | static_cast<u64>(gate) << 40 | u64{1} << 47 |
                  (handler >> 16 & 0xffff) << 48;
  bench.machine->memory().write_value(GuestPhys(kInterrupts + vector * 16), low);
  bench.machine->memory().write_value(GuestPhys(kInterrupts + vector * 16 + 8), u64{0});
}

inline void set_register(Bench& bench, unsigned number, u64 value) {
  CpuState state;
  bench.machine->vcpu().save(state);
  state.gpr[number] = value;
  bench.machine->vcpu().load(state);
}

}  // namespace doppel::machine_test
