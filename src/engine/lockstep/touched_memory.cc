// Keeping, restoring and comparing pieces of memory.
#include "engine/lockstep/touched_memory.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace doppel::lockstep {

TouchedMemory::TouchedMemory(GuestMemory& memory)
    : memory_(memory), pieces_(std::make_unique_for_overwrite<Piece[]>(kMaxPieces)) {}

void TouchedMemory::begin() {
  count_ = 0;
  updates_.clear();
  refusal_ = Refusal::kNone;
}

bool TouchedMemory::may_access(GuestPhys address, u64 size, bool is_write) {
  if (!memory_.is_ram(address, size)) {
    refusal_ = Refusal::kDevice;
  } else if (is_write && memory_.is_code_frame(address)) {
    refusal_ = Refusal::kCodeFrame;
  }
  if (refusal_ != Refusal::kNone) return false;
  const u64 end = address.value() + size;
  for (u64 at = align_down(address.value(), kPieceBytes); at < end; at += kPieceBytes) {
    if (touch(at, is_write)) continue;
    refusal_ = Refusal::kTooMuch;
    return false;
  }
  return true;
}

void TouchedMemory::will_update(GuestPhys entry, u64 bits) {
  updates_.push_back({entry.value(), bits});
  // There is no way to refuse. The bits stay set then, as they will be when translated code gets there.
  if (!touch(align_down(entry.value(), kPieceBytes), true)) refusal_ = Refusal::kTooMuch;
}

// False: there is no room for one more.
bool TouchedMemory::touch(u64 address, bool is_write) {
  // What is touched was mostly touched just before.
  for (unsigned i = count_; i-- > 0;) {
    if (addresses_[i] != address) continue;
    pieces_[i].is_written |= is_write;
    return true;
  }
  if (count_ == kMaxPieces) return false;
  Piece& piece = pieces_[count_];
  addresses_[count_++] = address;
  piece.host = memory_.host(GuestPhys(address));
  piece.is_written = is_write;
  std::memcpy(piece.before.data(), piece.host, kPieceBytes);
  return true;
}

void TouchedMemory::set_aside() {
  for (unsigned i = 0; i < count_; ++i) {
    Piece& piece = pieces_[i];
    if (!piece.is_written) continue;
    std::memcpy(piece.expected.data(), piece.host, kPieceBytes);
    std::memcpy(piece.host, piece.before.data(), kPieceBytes);
  }
}

void TouchedMemory::rewind() {
  for (unsigned i = 0; i < count_; ++i) {
    Piece& piece = pieces_[i];
    std::memcpy(piece.translated.data(), piece.host, kPieceBytes);
    std::memcpy(piece.host, piece.before.data(), kPieceBytes);
  }
  rewound_ = count_;
  refusal_ = Refusal::kNone;
}

// What was touched after rewind() for the first time, translated code has left as it was.
void TouchedMemory::bring_back() {
  for (unsigned i = 0; i < count_; ++i) {
    const Piece& piece = pieces_[i];
    std::memcpy(piece.host, (i < rewound_ ? piece.translated : piece.before).data(), kPieceBytes);
  }
  count_ = rewound_;
}

bool TouchedMemory::is_as_expected() const {
  for (unsigned i = 0; i < count_; ++i) {
    const Piece& piece = pieces_[i];
    if (std::memcmp(piece.host, expected_of(piece).data(), kPieceBytes) != 0) return false;
  }
  return true;
}

bool TouchedMemory::has(GuestPhys address) const {
  const std::span<const u64> known(addresses_.data(), count_);
  return std::ranges::find(known, align_down(address.value(), kPieceBytes)) != known.end();
}

// What the interpreter set within the part is expected, so that nothing else makes a difference.
bool TouchedMemory::is_optional(u64 address, u8 translated, u8 expected) const {
  if ((translated & expected) != expected) return false;
  return std::ranges::any_of(updates_, [&](const Update& update) {
    return update.entry == address && ((translated ^ expected) & ~update.bits) == 0;
  });
}

std::vector<ByteDifference> TouchedMemory::differences(unsigned most) const {
  std::vector<ByteDifference> found;
  for (unsigned i = 0; i < count_; ++i) {
    const Piece& piece = pieces_[i];
    const Bytes& expected = expected_of(piece);
    for (u64 at = 0; at < kPieceBytes && found.size() < most; ++at) {
      const u64 address = addresses_[i] + at;
      const u8 translated = piece.host[at];
      if (translated == expected[at] || is_optional(address, translated, expected[at])) continue;
      found.push_back({GuestPhys(address), translated, expected[at]});
    }
  }
  return found;
}

}  // namespace doppel::lockstep
