// Limit checks and accesses of StackFrame.
#include "cpu/stack_frame.h"

namespace doppel {

bool is_within_limit(const Segment& segment, u64 offset, unsigned size, bool wraps) {
  const u64 last = offset + size - 1;
  const bool is_expand_down = segment.is_code_or_data() && (segment.type() & 0xc) == 4;
  if (!is_expand_down) {
    return (wraps && segment.limit == 0xffffffff) || (last <= segment.limit && last >= offset);
  }
  const u64 upper = segment.is_32bit() ? 0xffffffff : 0xffff;
  return offset > segment.limit && last <= upper;
}

StackFrame::StackFrame(Core& core, const Segment& segment, u64 offset, unsigned element_size, AccessMode mode)
    : core_(core),
      segment_(segment),
      offset_(offset),
      mask_(core.is_64bit ? ~u64{0} : (segment.is_32bit() ? 0xffffffff : 0xffff)),
      size_(element_size),
      mode_(mode),
      is_flat_(core.is_64bit) {}

bool StackFrame::locate(u64 offset, u64& va) {
  if (is_flat_) {
    va = offset;
    return core_.is_canonical(va) || core_.raise(x86::kVectorSs, error_code_);
  }
  if (!is_within_limit(segment_, offset, size_, !core_.cpuid.is_amd()))
    return core_.raise(x86::kVectorSs, error_code_);
  va = (segment_.base + offset) & 0xffffffff;
  return true;
}

bool StackFrame::push(u64 value) {
  const u64 offset = (offset_ - size_) & mask_;
  u64 va;
  if (!locate(offset, va) || !core_.write_linear(va, &value, size_, mode_)) return false;
  offset_ = (offset_ & ~mask_) | offset;
  return true;
}

bool StackFrame::peek(unsigned index, u64& value) {
  u64 va;
  value = 0;
  return locate((offset_ + index * size_) & mask_, va) && core_.read_linear(va, &value, size_, mode_);
}

bool StackFrame::pop(u64& value) {
  if (!peek(0, value)) return false;
  skip(size_);
  return true;
}

}  // namespace doppel
