// ImageView: bounds-checked reading of a boot file that nobody has checked.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/types.h"

namespace doppel {

// The bytes of a kernel, initrd or module and what to call them in messages ("kernel 'x'"). Made for the
// length of one boot by load_guest(), passed by value; owns nothing. Every offset may come from the file
// itself.
class ImageView {
 public:
  ImageView(std::string_view name, std::span<const u8> bytes) : name_(name), bytes_(bytes) {}

  std::string_view name() const { return name_; }
  std::span<const u8> bytes() const { return bytes_; }
  u64 size() const { return bytes_.size(); }

  bool contains(u64 offset, u64 length) const { return length <= size() && offset <= size() - length; }

  // Nothing when the range is not wholly inside.
  std::optional<ImageView> slice(u64 offset, u64 length) const {
    if (!contains(offset, length)) return std::nullopt;
    return ImageView(name_, bytes_.subspan(offset, length));
  }

  // A little-endian value at `offset`; nothing when it is not wholly inside.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> get(u64 offset) const {
    if (!contains(offset, sizeof(T))) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }

 private:
  std::string_view name_;
  std::span<const u8> bytes_;
};

}  // namespace doppel
