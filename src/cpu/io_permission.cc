// May this privilege level touch that port? SDM 1 19.5.
#include "cpu/core.h"

namespace doppel {

bool Core::check_io(u16 port, unsigned size) {
  if (!has_io_permission(port, size)) return false;
  if ((state.dr7 & 0xff) != 0) note_io_access(port, size);
  return true;
}

bool Core::has_io_permission(u16 port, unsigned size) {
  if (!is_protected() || (!is_v8086() && cpl <= iopl())) return true;
  // The bitmap's offset lies at byte 102 of a 32-bit or 64-bit TSS.
  const bool is_wide = (state.tr.type() & 8) != 0;
  if (!state.tr.is_usable() || !is_wide || state.tr.limit < 103) return raise(x86::kVectorGp, 0);
  u16 map_base;
  if (!read_system(state.tr.base + 102, map_base)) return false;
  const u32 offset = map_base + port / 8u;
  if (offset + 1 > state.tr.limit) return raise(x86::kVectorGp, 0);
  u16 map;
  if (!read_system(state.tr.base + offset, map)) return false;
  const u32 mask = ((1u << size) - 1) << (port % 8);
  return (map & mask) == 0 || raise(x86::kVectorGp, 0);
}

}  // namespace doppel
