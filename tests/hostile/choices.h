// Choices: the random decisions that make up a guest, from given bytes first and a generator after that.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <span>

#include "base/types.h"

namespace doppel::hostile {

// Equal inputs give equal guests. A fuzzer's input steers the first decisions; the rest follow from its hash.
class Choices {
 public:
  explicit Choices(u64 seed) : state_(seed) {}
  explicit Choices(std::span<const u8> input) : input_(input) {
    for (const u8 byte : input) state_ = (state_ ^ byte) * 0x100000001b3;
  }

  // Always the first and least: what is drawn from it is a guest by the book.
  static Choices calm() {
    Choices choices(0);
    choices.is_calm_ = true;
    return choices;
  }

  u64 next() {
    if (input_.empty()) return generate();
    u64 value = 0;
    const std::size_t size = std::min<std::size_t>(input_.size(), 2);
    std::memcpy(&value, input_.data(), size);
    input_ = input_.subspan(size);
    return generate() + value;
  }
  // In [0, limit); limit > 0.
  u64 below(u64 limit) { return next() % limit; }
  bool percent(unsigned chance) { return below(100) + chance >= 100; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  template <class T, std::size_t kCount>
  T pick(const T (&values)[kCount]) {
    return values[below(kCount)];
  }
  // Each bit of `mask` with the given chance.
  u64 subset(u64 mask, unsigned chance) {
    u64 result = 0;
    for (unsigned i = 0; i < 64; ++i) {
      if (((mask >> i) & 1) != 0 && percent(chance)) result |= u64{1} << i;
    }
    return result;
  }
  void fill(std::span<u8> out) {
    for (std::size_t i = 0; i < out.size(); i += 8) {
      const u64 value = generate();
      std::memcpy(out.data() + i, &value, std::min<std::size_t>(8, out.size() - i));
    }
  }

 private:
  u64 generate() {
    if (is_calm_) return 0;
    state_ += 0x9e3779b97f4a7c15;
    u64 value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }

  std::span<const u8> input_;
  u64 state_ = 0;
  bool is_calm_ = false;
};

}  // namespace doppel::hostile
