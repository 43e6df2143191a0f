// Random guests: RAM contents and a CPU state, partly plausible, that no kernel would ever produce.
#pragma once

#include "cpu/cpu_state.h"
#include "memory/guest_memory.h"
#include "tests/hostile/choices.h"
#include "tests/hostile/guest_tables.h"
#include "x86/cpuid.h"

namespace doppel::hostile {

// Fills `memory` and returns the state to start in. `memory` is fresh.
CpuState make_random_guest(GuestMemory& memory, const x86::CpuidTable& cpuid, Choices& choices);

// A guest that follows the rules, to build directed cases on: flat segments, all of RAM mapped to itself and
// to the top of the address space, handlers that return, `code` at kCode.
CpuState make_plain_guest(GuestMemory& memory, Mode mode, std::span<const u8> code);

}  // namespace doppel::hostile
