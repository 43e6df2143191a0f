// What a vCPU's page tables map, as text for a person.
#pragma once

#include <string>

#include "cpu/cpu_state.h"
#include "memory/guest_memory.h"

namespace doppel {

// One line a run of pages with consecutive addresses and equal rights: linear range, physical start, page
// size, rights. Nothing is changed, tables outside RAM are skipped, and the work is bounded whatever the
// tables say: what does not fit is left out, with a line that tells so.
std::string page_table_report(const CpuState& state, const GuestMemory& memory);

}  // namespace doppel
