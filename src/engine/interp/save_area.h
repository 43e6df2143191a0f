// SaveArea: a large memory operand, accessed part by part.
#pragma once

#include "engine/interp/semantic.h"

namespace doppel::interp {

// The memory operand of an instruction that saves or loads a unit's state. The processor addresses each of
// its parts by itself, so offsets wrap at the address size in the middle of it. Made by a semantic function
// for one instruction.
class SaveArea {
 public:
  SaveArea(Interpreter& s, const Op& op)
      : s_(s), op_(op), start_(any_offset(&s, &op, trace_base(s, op))), mask_(address_mask(op)) {}

  bool check_alignment(unsigned alignment, bool is_write) {
    u64 va;
    if (!s_.linear_address(op_.segment, start_, 1, is_write, va)) return false;
    return (va & (alignment - 1)) == 0 || s_.raise(x86::kVectorGp, 0);
  }
  bool read(unsigned at, u8* out, unsigned size) {
    return each_part(at, size, false, [&](u64 va, unsigned done, unsigned part) {
      return s_.read_linear(va, out + done, part, s_.access_mode);
    });
  }
  bool probe_write(unsigned at, unsigned size) {
    return each_part(at, size, true, [&](u64 va, unsigned, unsigned part) {
      return s_.probe_write(va, part, s_.access_mode);
    });
  }
  bool write(unsigned at, const u8* data, unsigned size) {
    return each_part(at, size, true, [&](u64 va, unsigned done, unsigned part) {
      return s_.write_linear(va, data + done, part, s_.access_mode);
    });
  }

 private:
  template <class F>
  bool each_part(unsigned at, unsigned size, bool is_write, F f) {
    for (unsigned done = 0; done < size;) {
      const u64 offset = (start_ + at + done) & mask_;
      const u64 room = mask_ - offset;  // one less than the bytes up to the wrap
      const unsigned part = room < size - done ? static_cast<unsigned>(room + 1) : size - done;
      u64 va;
      if (!s_.linear_address(op_.segment, offset, part, is_write, va) || !f(va, done, part)) return false;
      done += part;
    }
    return true;
  }

  Interpreter& s_;
  const Op& op_;
  u64 start_;
  u64 mask_;
};

}  // namespace doppel::interp
