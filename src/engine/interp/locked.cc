// Finding a locked operand by a page walk.
#include "engine/interp/locked.h"

namespace doppel::interp {

bool find_locked(Interpreter& s, u64 va, unsigned size, LockedOperand& operand) {
  operand = {};
  operand.va = va;
  operand.size = size;
  if (!s.is_long_mode) va &= 0xffffffff;
  const bool is_on_one_page = (va & kPageOffsetMask) + size <= kPageSize;
  // The other ways report it.
  if (!is_on_one_page || (s.is_long_mode && !s.is_canonical(va))) return true;
  const Translation translation = s.mmu.fill(GuestVirt(va), Access::kWrite, s.access_mode);
  if (!translation.is_valid) return s.raise_page_fault(GuestVirt(va), translation.error_code);
  operand.physical = translation.physical;
  if (s.observer != nullptr && !s.observer->may_access(operand.physical, size, true)) return false;
  if (s.memory.is_ram(operand.physical, size)) operand.host = s.memory.host(operand.physical);
  return true;
}

void finish_locked(Interpreter& s, const LockedOperand& operand) {
  s.memory.note_write(operand.physical, operand.size, s.mmu.code_user());
  if ((s.state.dr7 & 0xff) != 0) s.note_data_access(operand.va, operand.size, true);
}

}  // namespace doppel::interp
