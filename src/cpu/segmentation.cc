// Segment offsets to linear addresses, and loading of segment registers. SDM 3A chapters 3 and 5.
#include <bit>

#include "cpu/core.h"
#include "cpu/stack_frame.h"

namespace doppel {

using x86::Descriptor;
using x86::Selector;

bool Core::linear_address(unsigned segment, u64 offset, unsigned size, bool is_write, u64& va) {
  const Segment& seg = state.segment(segment);
  const u8 vector = segment == x86::kSs ? x86::kVectorSs : x86::kVectorGp;
  if (is_64bit) {
    va = segment >= x86::kFs ? offset + seg.base : offset;
    if (!is_canonical(va) || !is_canonical(va + size - 1)) return raise(vector, 0);
  } else {
    if (!is_real_or_v8086()) {
      if (!seg.is_usable()) return raise(vector, 0);
      const bool is_writable = !seg.is_code() && (seg.type() & 2) != 0;
      const bool is_readable = !seg.is_code() || (seg.type() & 2) != 0;
      if (is_write ? !is_writable : !is_readable) return raise(vector, 0);
    }
    if (!is_within_limit(seg, offset, size, !cpuid.is_amd())) return raise(vector, 0);
    va = (seg.base + offset) & 0xffffffff;
  }
  // SDM 3A 6.15 "alignment check": only at CPL 3.
  if (cpl == 3 && (state.rflags & x86::kFlagAc) != 0 && (state.cr0 & x86::kCr0Am) != 0) {
    // Far pointers (4, 6 and 10 bytes) are as strict as the largest power of two in them. SDM 3A table 6-7.
    const u64 alignment = std::bit_floor(size);
    if (size <= 10 && (va & (alignment - 1)) != 0) return raise(x86::kVectorAc, 0);
  }
  return true;
}

bool Core::read_descriptor(Selector selector, Descriptor& out, u64& address, u8 vector) {
  u64 base = state.gdtr.base;
  u64 limit = state.gdtr.limit;
  if (selector.is_local()) {
    if (!state.ldtr.is_usable()) return raise(vector, selector.error_code());
    base = state.ldtr.base;
    limit = state.ldtr.limit;
  }
  if (selector.offset() + 7 > limit) return raise(vector, selector.error_code());
  address = base + selector.offset();
  return read_system(address, out.raw);
}

void Core::set_segment(Segment& segment, u16 selector, Descriptor descriptor) {
  segment.selector = selector;
  segment.attributes = descriptor.attributes();
  segment.limit = descriptor.limit();
  segment.base = descriptor.base();
}

bool Core::set_accessed(Descriptor& descriptor, u64 address) {
  if ((descriptor.type() & x86::kAttributeAccessed) != 0) return true;
  descriptor.raw |= u64{x86::kAttributeAccessed} << 40;
  const u8 access = static_cast<u8>(descriptor.raw >> 40);
  return write_linear(address + 5, &access, 1, kSupervisor);
}

void Core::load_real_segment(unsigned index, u16 selector) {
  Segment& segment = state.segment(index);
  segment.selector = selector;
  segment.base = u64{selector} << 4;
  if (is_v8086()) {
    segment.limit = 0xffff;
    segment.attributes = 0xf3;
  } else if (index == x86::kCs) {
    segment.attributes = 0x93;
  }
  // Real mode keeps limit and attributes of the last protected-mode load ("unreal mode").
}

bool Core::load_segment(unsigned index, u16 selector) {
  if (is_real_or_v8086()) {
    load_real_segment(index, selector);
    return true;
  }
  const Selector sel{selector};
  Segment& segment = state.segment(index);
  if (index == x86::kSs) {
    if (sel.is_null() && is_64bit && cpl < 3 && sel.rpl() == cpl) {
      segment = {.selector = selector, .attributes = static_cast<u16>(cpl << 5), .limit = 0, .base = 0};
      return true;
    }
    Segment loaded;
    if (sel.is_null()) return raise(x86::kVectorGp, 0);
    if (!load_stack_segment(selector, cpl, x86::kVectorGp, loaded)) return false;
    segment = loaded;
    return true;
  }
  if (sel.is_null()) {
    // The base survives only on some processors; Intel clears it.
    segment = {.selector = selector, .attributes = 0, .limit = 0, .base = 0};
    return true;
  }
  Descriptor descriptor;
  u64 address;
  if (!read_descriptor(sel, descriptor, address, x86::kVectorGp)) return false;
  const bool is_usable = descriptor.is_code_or_data() && descriptor.is_readable();
  const bool needs_privilege = !descriptor.is_conforming();
  const bool has_privilege = descriptor.dpl() >= cpl && descriptor.dpl() >= sel.rpl();
  if (!is_usable || (needs_privilege && !has_privilege)) return raise(x86::kVectorGp, sel.error_code());
  if (!descriptor.is_present()) return raise(x86::kVectorNp, sel.error_code());
  if (!set_accessed(descriptor, address)) return false;
  set_segment(segment, selector, descriptor);
  return true;
}

bool Core::load_stack_segment(u16 selector, unsigned new_cpl, u8 vector, Segment& out) {
  const Selector sel{selector};
  if (sel.is_null()) return raise(vector, vector == x86::kVectorGp ? 0 : sel.error_code());
  Descriptor descriptor;
  u64 address;
  if (!read_descriptor(sel, descriptor, address, vector)) return false;
  if (sel.rpl() != new_cpl || descriptor.dpl() != new_cpl || !descriptor.is_writable_data()) {
    return raise(vector, sel.error_code());
  }
  if (!descriptor.is_present()) return raise(x86::kVectorSs, sel.error_code());
  if (!set_accessed(descriptor, address)) return false;
  set_segment(out, selector, descriptor);
  return true;
}

// SDM 3A 5.8.8 and IRET: data segments that the outer level may not use become null.
void Core::null_unreachable_segments() {
  for (const unsigned index : {x86::kEs, x86::kDs, x86::kFs, x86::kGs}) {
    Segment& segment = state.segment(index);
    const bool is_conforming_code = segment.is_code() && (segment.type() & 4) != 0;
    if (segment.is_usable() && segment.dpl() < cpl && !is_conforming_code) {
      segment = {.selector = 0, .attributes = 0, .limit = 0, .base = 0};
    } else if (!segment.is_usable() && Selector{segment.selector}.is_null()) {
      segment.selector = 0;
    }
  }
}

namespace {

// The upper eight bytes of a long-mode system descriptor extend the base.
bool extend_base(Core& core, u64 address, u16 selector, u64& base) {
  u64 upper;
  if (!core.read_system(address + 8, upper)) return false;
  if ((upper >> 40 & 0x1f) != 0) return core.raise(x86::kVectorGp, Selector{selector}.error_code());
  base |= (upper & 0xffffffff) << 32;
  if (!core.is_canonical(base)) return core.raise(x86::kVectorGp, Selector{selector}.error_code());
  return true;
}

}  // namespace

bool Core::load_ldtr(u16 selector) {
  const Selector sel{selector};
  if (sel.is_null()) {
    state.ldtr = {.selector = selector, .attributes = 0, .limit = 0, .base = 0};
    return true;
  }
  if (sel.is_local()) return raise(x86::kVectorGp, sel.error_code());
  Descriptor descriptor;
  u64 address;
  if (!read_descriptor(sel, descriptor, address, x86::kVectorGp)) return false;
  if (descriptor.is_code_or_data() || descriptor.type() != x86::kLdt)
    return raise(x86::kVectorGp, sel.error_code());
  if (is_64bit && sel.offset() + 15 > state.gdtr.limit) return raise(x86::kVectorGp, sel.error_code());
  if (!descriptor.is_present()) return raise(x86::kVectorNp, sel.error_code());
  u64 base = descriptor.base();
  if (is_64bit && !extend_base(*this, address, selector, base)) return false;
  set_segment(state.ldtr, selector, descriptor);
  state.ldtr.base = base;
  return true;
}

bool Core::load_tr(u16 selector) {
  const Selector sel{selector};
  if (sel.is_null()) return raise(x86::kVectorGp, 0);
  if (sel.is_local()) return raise(x86::kVectorGp, sel.error_code());
  Descriptor descriptor;
  u64 address;
  if (!read_descriptor(sel, descriptor, address, x86::kVectorGp)) return false;
  const bool is_tss32 = descriptor.type() == x86::kTss32Available;
  const bool is_tss16 = descriptor.type() == x86::kTss16Available && !is_long_mode;
  if (descriptor.is_code_or_data() || !(is_tss32 || is_tss16)) return raise(x86::kVectorGp, sel.error_code());
  if (is_64bit && sel.offset() + 15 > state.gdtr.limit) return raise(x86::kVectorGp, sel.error_code());
  if (!descriptor.is_present()) return raise(x86::kVectorNp, sel.error_code());
  u64 base = descriptor.base();
  if (is_64bit && !extend_base(*this, address, selector, base)) return false;
  descriptor.raw |= u64{2} << 40;  // busy
  if (!write_system(address, descriptor.raw)) return false;
  set_segment(state.tr, selector, descriptor);
  state.tr.base = base;
  return true;
}

u64 Core::stack_mask() const {
  if (is_64bit) return ~u64{0};
  return state.segment(x86::kSs).is_32bit() ? 0xffffffff : 0xffff;
}

bool Core::push(u64 value, unsigned size) {
  const u64 mask = stack_mask();
  u64& rsp = state.gpr[x86::kRsp];
  const u64 offset = (rsp - size) & mask;
  u64 va;
  if (!linear_address(x86::kSs, offset, size, true, va)) return false;
  if (!write_linear(va, &value, size, access_mode)) return false;
  rsp = (rsp & ~mask) | offset;
  return true;
}

bool Core::pop(u64& value, unsigned size) {
  const u64 mask = stack_mask();
  u64& rsp = state.gpr[x86::kRsp];
  u64 va;
  if (!linear_address(x86::kSs, rsp & mask, size, false, va)) return false;
  value = 0;
  if (!read_linear(va, &value, size, access_mode)) return false;
  rsp = (rsp & ~mask) | ((rsp + size) & mask);
  return true;
}

}  // namespace doppel
