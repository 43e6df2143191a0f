// VectorSet: the 256-bit IRR, ISR and TMR of a local APIC.
#pragma once

#include <array>
#include <bit>

#include "base/types.h"
#include "state/state_visitor.h"

namespace doppel {

// A set of interrupt vectors that knows its highest member, which the CPU asks for all the time.
class VectorSet {
 public:
  static constexpr int kNone = -1;

  // The highest vector, or kNone.
  int highest() const { return highest_; }
  bool is_empty() const { return highest_ == kNone; }
  bool contains(u8 vector) const { return bit(words_[vector / 64], vector % 64); }

  void insert(u8 vector) {
    words_[vector / 64] |= u64{1} << (vector % 64);
    if (vector > highest_) highest_ = vector;
  }
  void erase(u8 vector) {
    words_[vector / 64] &= ~(u64{1} << (vector % 64));
    if (vector == highest_) highest_ = find_highest();
  }
  void clear() {
    words_ = {};
    highest_ = kNone;
  }
  int size() const {
    int count = 0;
    for (const u64 word : words_) count += std::popcount(word);
    return count;
  }

  // Register `index` (0..7) of the eight 32-bit registers that show the set. SDM 3A 10.8.4.
  u32 word(unsigned index) const { return static_cast<u32>(words_[index / 2] >> (32 * (index % 2))); }

  void visit_state(StateVisitor& visitor, std::string_view name) {
    visitor.field(name, words_);
    if (visitor.is_loading()) highest_ = find_highest();
  }

 private:
  int find_highest() const {
    for (int i = 3; i >= 0; --i) {
      if (words_[i] != 0) return 64 * i + 63 - std::countl_zero(words_[i]);
    }
    return kNone;
  }

  std::array<u64, 4> words_ = {};
  int highest_ = kNone;
};

}  // namespace doppel
