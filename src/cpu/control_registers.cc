// Writes to CR0, CR3, CR4, CR8, XCR0 and the debug registers, with their consistency rules. SDM 3A 2.5, 2.6.
#include "cpu/core.h"

namespace doppel {
namespace {

constexpr u64 kCr0Known = x86::kCr0Pe | x86::kCr0Mp | x86::kCr0Em | x86::kCr0Ts | x86::kCr0Et | x86::kCr0Ne |
                          x86::kCr0Wp | x86::kCr0Am | x86::kCr0Nw | x86::kCr0Cd | x86::kCr0Pg;
constexpr u64 kCr0Paging = x86::kCr0Pe | x86::kCr0Wp | x86::kCr0Pg;
constexpr u64 kCr4Paging = x86::kCr4Pse | x86::kCr4Pae | x86::kCr4Pge | x86::kCr4Pcide | x86::kCr4Smep |
                           x86::kCr4Smap | x86::kCr4La57;

}  // namespace

// SDM 3A 4.4.1: the four PDPTEs are loaded with CR3 and checked for reserved bits.
bool Core::load_pdptes(u64 cr3_value) {
  std::array<u64, 4> entries;
  mmu.read_physical(GuestPhys(cr3_value & 0xffffffe0),
                    {reinterpret_cast<u8*>(entries.data()), sizeof(entries)});
  const u64 above = ~((u64{1} << cpuid.physical_address_bits()) - 1);
  for (const u64 entry : entries) {
    if ((entry & 1) != 0 && (entry & (0x1e6 | above)) != 0) return raise(x86::kVectorGp, 0);
  }
  state.pdpte = entries;
  return true;
}

bool Core::set_cr0(u64 value) {
  if (value >> 32 != 0) return raise(x86::kVectorGp, 0);
  value = (value & kCr0Known) | x86::kCr0Et;
  const u64 old = state.cr0;
  if ((value & x86::kCr0Pg) != 0 && (value & x86::kCr0Pe) == 0) return raise(x86::kVectorGp, 0);
  if ((value & x86::kCr0Nw) != 0 && (value & x86::kCr0Cd) == 0) return raise(x86::kVectorGp, 0);
  if ((value & x86::kCr0Pg) == 0 && (state.cr4 & x86::kCr4Pcide) != 0) return raise(x86::kVectorGp, 0);
  const bool enables_paging = (value & ~old & x86::kCr0Pg) != 0;
  if (enables_paging) {
    const bool is_pae = (state.cr4 & x86::kCr4Pae) != 0;
    if ((state.efer & x86::kEferLme) != 0) {
      // SDM 3A 9.8.5: long mode needs PAE and a code segment that is not already long.
      if (!is_pae || state.segment(x86::kCs).is_long()) return raise(x86::kVectorGp, 0);
      state.efer |= x86::kEferLma;
    } else if (is_pae && !load_pdptes(state.cr3)) {
      return false;
    }
  }
  if ((old & ~value & x86::kCr0Pg) != 0) {
    if (is_64bit) return raise(x86::kVectorGp, 0);
    state.efer &= ~x86::kEferLma;
  }
  state.cr0 = value;
  if (((old ^ value) & kCr0Paging) != 0) mmu.flush_all();
  update_mode();
  return true;
}

bool Core::set_cr4(u64 value) {
  u64 known = x86::kCr4Tsd | x86::kCr4De | x86::kCr4Pse | x86::kCr4Pae | x86::kCr4Mce | x86::kCr4Pge |
              x86::kCr4Pce | x86::kCr4Osfxsr | x86::kCr4Osxmmexcpt;
  auto allow = [&](x86::Feature feature, u64 mask) {
    if (cpuid.has(feature)) known |= mask;
  };
  allow(x86::Feature::kVme, x86::kCr4Vme | x86::kCr4Pvi);
  allow(x86::Feature::kUmip, x86::kCr4Umip);
  allow(x86::Feature::kLa57, x86::kCr4La57);
  allow(x86::Feature::kFsgsbase, x86::kCr4Fsgsbase);
  allow(x86::Feature::kPcid, x86::kCr4Pcide);
  allow(x86::Feature::kXsave, x86::kCr4Osxsave);
  allow(x86::Feature::kSmep, x86::kCr4Smep);
  allow(x86::Feature::kSmap, x86::kCr4Smap);
  const u64 old = state.cr4;
  if ((value & ~known) != 0) return raise(x86::kVectorGp, 0);
  if (is_long_mode && ((value & x86::kCr4Pae) == 0 || ((old ^ value) & x86::kCr4La57) != 0)) {
    return raise(x86::kVectorGp, 0);
  }
  if ((value & ~old & x86::kCr4Pcide) != 0 && (!is_long_mode || (state.cr3 & 0xfff) != 0)) {
    return raise(x86::kVectorGp, 0);
  }
  const bool is_paging = (state.cr0 & x86::kCr0Pg) != 0;
  const u64 pdpte_bits = x86::kCr4Pae | x86::kCr4Pge | x86::kCr4Pse | x86::kCr4Smep;
  if (is_paging && !is_long_mode && (value & x86::kCr4Pae) != 0 && ((old ^ value) & pdpte_bits) != 0) {
    if (!load_pdptes(state.cr3)) return false;
  }
  state.cr4 = value;
  if (((old ^ value) & kCr4Paging) != 0) {
    mmu.flush_all();
    mmu.switch_context(state.cr3);
  }
  return true;
}

bool Core::set_cr3(u64 value) {
  const bool has_pcid = (state.cr4 & x86::kCr4Pcide) != 0;
  u64 base = value;
  if (is_long_mode) {
    if (has_pcid) base &= ~(u64{1} << 63);
    if (base >> cpuid.physical_address_bits() != 0) return raise(x86::kVectorGp, 0);
  } else if (is_protected() && (state.cr0 & x86::kCr0Pg) != 0 && (state.cr4 & x86::kCr4Pae) != 0) {
    if (!load_pdptes(value)) return false;
  }
  state.cr3 = base;
  mmu.switch_context(value);
  return true;
}

namespace {

// CR0, CR2, CR3, CR4 and CR8; the others are #UD at any privilege level.
bool is_control_register(unsigned index) { return index == 0 || (index >= 2 && index <= 4) || index == 8; }

}  // namespace

bool Core::read_control(unsigned index, u64& value) {
  if (!is_control_register(index)) return raise(x86::kVectorUd);
  if (!require_cpl0()) return false;
  switch (index) {
    case 0:
      value = state.cr0;
      return true;
    case 2:
      value = state.cr2;
      return true;
    case 3:
      value = state.cr3;
      return true;
    case 4:
      value = state.cr4;
      return true;
    default:
      value = platform.task_priority();
      return true;
  }
}

bool Core::write_control(unsigned index, u64 value) {
  if (!is_control_register(index)) return raise(x86::kVectorUd);
  if (!require_cpl0()) return false;
  switch (index) {
    case 0:
      return set_cr0(value);
    case 2:
      state.cr2 = value;
      return true;
    case 3:
      return set_cr3(value);
    case 4:
      return set_cr4(value);
    default:
      if ((value >> 4) != 0) return raise(x86::kVectorGp, 0);
      platform.set_task_priority(static_cast<u8>(value));
      return true;
  }
}

// SDM 3B 17.2.2: DR4 and DR5 alias DR6 and DR7 unless CR4.DE is set; SDM 3B 17.2.4: general detect.
bool Core::read_debug(unsigned index, u64& value) {
  if ((index == 4 || index == 5) && (state.cr4 & x86::kCr4De) != 0) return raise(x86::kVectorUd);
  if (!require_cpl0()) return false;
  if ((state.dr7 & x86::kDr7Gd) != 0) {
    state.dr6 |= x86::kDr6Bd;
    state.dr7 &= ~x86::kDr7Gd;
    return raise(x86::kVectorDb);
  }
  if (index < 4)
    value = state.dr[index];
  else
    value = (index == 4 || index == 6) ? state.dr6 : state.dr7;
  return true;
}

bool Core::write_debug(unsigned index, u64 value) {
  u64 ignored;
  if (!read_debug(index, ignored)) return false;
  if (index < 4) {
    state.dr[index] = value;  // canonical or not. SDM 3B 17.2.6
  } else {
    if (value >> 32 != 0) return raise(x86::kVectorGp, 0);
    if (index == 4 || index == 6)
      state.dr6 = (value & 0xe00f) | x86::kDr6Fixed;
    else
      state.dr7 = (value & 0xffff2bff) | x86::kDr7Fixed;
  }
  update_watch();
  mmu.flush_all();
  return true;
}

// SDM 2B "XSETBV".
bool Core::write_xcr(u32 index, u64 value) {
  if (!require_cpl0()) return false;
  const bool has_avx = cpuid.has(x86::Feature::kAvx);
  const u64 known = x86::kXcr0X87 | x86::kXcr0Sse | (has_avx ? x86::kXcr0Avx : 0);
  const bool is_consistent =
      (value & x86::kXcr0X87) != 0 && ((value & x86::kXcr0Avx) == 0 || (value & x86::kXcr0Sse) != 0);
  if (index != 0 || (value & ~known) != 0 || !is_consistent) return raise(x86::kVectorGp, 0);
  state.xcr0 = value;
  return true;
}

}  // namespace doppel
