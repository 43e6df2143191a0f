// Guest addresses as types of their own: physical and virtual do not convert into each other or into
// pointers.
#pragma once

#include <compare>

#include "base/types.h"

namespace doppel {

// Page geometry of the architecture. SDM 3A 4.2.
inline constexpr unsigned kPageShift = 12;
inline constexpr u64 kPageSize = u64{1} << kPageShift;
inline constexpr u64 kPageOffsetMask = kPageSize - 1;

template <class Tag>
class Address {
 public:
  constexpr Address() = default;
  constexpr explicit Address(u64 value) : value_(value) {}
  constexpr u64 value() const { return value_; }
  constexpr Address operator+(u64 offset) const { return Address(value_ + offset); }
  constexpr u64 operator-(Address other) const { return value_ - other.value_; }
  constexpr u64 page_offset() const { return value_ & kPageOffsetMask; }
  constexpr Address page_base() const { return Address(value_ & ~kPageOffsetMask); }
  constexpr u64 page_number() const { return value_ >> kPageShift; }
  constexpr auto operator<=>(const Address&) const = default;

 private:
  u64 value_ = 0;
};

using GuestPhys = Address<struct GuestPhysTag>;
// A linear address: after segmentation, before paging.
using GuestVirt = Address<struct GuestVirtTag>;

}  // namespace doppel
