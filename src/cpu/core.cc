// Faults and the values derived from control state.
#include "cpu/core.h"

namespace doppel {

Core::Core(GuestMemory& guest_memory, CpuPlatform& cpu_platform, const x86::CpuidTable& cpuid_table)
    : mmu(state, guest_memory, cpu_platform),
      memory(guest_memory),
      platform(cpu_platform),
      cpuid(cpuid_table) {}

bool Core::raise(u8 vector) {
  fault = {vector, false, 0};
  has_fault = true;
  return false;
}

bool Core::raise(u8 vector, u32 error_code) {
  fault = {vector, true, error_code};
  has_fault = true;
  return false;
}

bool Core::raise_page_fault(GuestVirt address, u32 error_code) {
  state.cr2 = address.value();
  return raise(x86::kVectorPf, error_code);
}

void Core::update_mode() {
  is_long_mode = (state.efer & x86::kEferLma) != 0;
  const Segment& cs = state.segment(x86::kCs);
  is_64bit = is_long_mode && cs.is_long();
  // What they hold in other modes is undefined (SDM 1 3.4.1.1), and zero here whatever engine runs.
  if (!is_64bit) {
    for (unsigned reg = 0; reg < 8; ++reg) state.gpr[reg] &= 0xffffffff;
  }
  if (!is_protected()) {
    cpl = 0;
  } else if (is_v8086()) {
    cpl = 3;
  } else {
    cpl = static_cast<u8>(state.segment(x86::kSs).dpl());
  }
  if (cpl == 3) {
    access_mode = kUser;
  } else {
    access_mode = (state.rflags & x86::kFlagAc) != 0 ? kSupervisorAc : kSupervisor;
  }
}

void Core::state_replaced() {
  update_watch();
  mmu.flush_all();
  mmu.switch_context(state.cr3);
  update_mode();
  has_fault = false;
}

// Data breakpoints keep every page out of the software TLB. SDM 3B 17.2.4.
void Core::update_watch() {
  bool is_watching = false;
  for (unsigned i = 0; i < 4; ++i) {
    const bool is_enabled = bits(state.dr7, 2 * i, 2) != 0;
    const unsigned condition = static_cast<unsigned>(bits(state.dr7, 16 + 4 * i, 2));
    if (is_enabled && (condition == 1 || condition == 3)) is_watching = true;
  }
  mmu.set_watched(is_watching);
}

// Does [address, address + size) overlap the bytes that an enabled DR0..DR3 covers?
bool Core::touches_breakpoint(unsigned index, u64 address, unsigned size) const {
  if (bits(state.dr7, 2 * index, 2) == 0) return false;
  // LEN: 1, 2, 8, 4 bytes; the address is aligned to it.
  static constexpr u8 kLengths[] = {1, 2, 8, 4};
  const u64 length = kLengths[bits(state.dr7, 18 + 4 * index, 2)];
  const u64 start = align_down(state.dr[index], length);
  return address - start < length || start - address < size;
}

void Core::note_data_access(u64 va, unsigned size, bool is_write) {
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned condition = static_cast<unsigned>(bits(state.dr7, 16 + 4 * i, 2));
    if (condition != 3 && !(condition == 1 && is_write)) continue;
    if (touches_breakpoint(i, va, size)) state.pending_debug |= u64{1} << i;
  }
}

// SDM 3B 17.2.4: R/W 10b is an I/O breakpoint when CR4.DE is set.
void Core::note_io_access(u16 port, unsigned size) {
  if ((state.cr4 & x86::kCr4De) == 0) return;
  for (unsigned i = 0; i < 4; ++i) {
    const bool is_io = bits(state.dr7, 16 + 4 * i, 2) == 2;
    if (is_io && touches_breakpoint(i, port, size)) state.pending_debug |= u64{1} << i;
  }
}

}  // namespace doppel
