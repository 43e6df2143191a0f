// CodeMap: which guest instruction a place in the code memory belongs to.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "cpu/tlb.h"

namespace doppel::jit {

// Host code from `position` on, to the next mark.
struct CodeMark {
  u64 rip;       // of the instruction; of a way to another block, where it leads
  u32 position;  // in the code memory
  AccessMode mode;
  bool is_aside;  // out of the way: misses, links, exits
};

// Kept only while somebody wants it. Used on the vCPU's thread; find() also in its signal handlers, as long
// as they interrupted translated code, because nothing is added then.
class CodeMap {
 public:
  void add(const CodeMark& mark) { marks_.push_back(mark); }
  void clear() { marks_.clear(); }
  std::size_t count() const { return marks_.size(); }
  std::span<const CodeMark> from(std::size_t index) const { return std::span(marks_).subspan(index); }

  // nullptr: before the first block.
  const CodeMark* find(u32 position) const {
    const auto after = std::ranges::upper_bound(marks_, position, {}, &CodeMark::position);
    return after == marks_.begin() ? nullptr : &*(after - 1);
  }

 private:
  std::vector<CodeMark> marks_;  // by position
};

}  // namespace doppel::jit
