// StackFrame: pushes and pops on a stack that is not (yet) the current one.
#pragma once

#include "cpu/core.h"

namespace doppel {

// Does [offset, offset + size) lie inside the segment? With a limit of 4 GiB an access that crosses it may
// wrap or fault (SDM 3A 5.3): Intel's processors wrap, AMD's do not.
bool is_within_limit(const Segment& segment, u64 offset, unsigned size, bool wraps);

// A stack under construction or inspection during a far transfer: the registers change only when the caller
// commits `offset()`. Limit violations raise #SS with `error_code`.
class StackFrame {
 public:
  StackFrame(Core& core, const Segment& segment, u64 offset, unsigned element_size, AccessMode mode);

  void set_error_code(u32 error_code) { error_code_ = error_code; }
  bool push(u64 value);
  bool pop(u64& value);
  // The element `index` elements above the top, without popping.
  bool peek(unsigned index, u64& value);
  void skip(u64 bytes) { offset_ = (offset_ & ~mask_) | ((offset_ + bytes) & mask_); }
  u64 offset() const { return offset_; }
  u64 mask() const { return mask_; }

 private:
  bool locate(u64 offset, u64& va);

  Core& core_;
  const Segment& segment_;
  u64 offset_;
  u64 mask_;
  unsigned size_;
  AccessMode mode_;
  bool is_flat_;  // 64-bit: no base, no limit
  u32 error_code_ = 0;
};

}  // namespace doppel
