// Page walks that leave no trace, for debuggers and accounting.
#pragma once

#include <optional>

#include "cpu/cpu_state.h"
#include "memory/guest_memory.h"

namespace doppel {

// Where a linear address leads in the address space of `state`, and what its page may be used for.
struct DebugTranslation {
  GuestPhys physical;
  u64 page_size = kPageSize;
  unsigned levels = 0;  // entries read on the way; 0 without paging
  bool is_writable = false;
  bool is_user = false;
  bool is_executable = true;
  bool is_global = false;
  bool is_accessed = false;
  bool is_dirty = false;
};

// As the paging unit would translate it for an access that no right forbids, but from the tables alone: no
// TLB, and no accessed or dirty bit is set. Nothing when the address is not mapped or not canonical, or when
// a table lies outside RAM.
std::optional<DebugTranslation> debug_walk(const CpuState& state, const GuestMemory& memory,
                                           GuestVirt address);

}  // namespace doppel
