// TouchedMemory: the guest memory that a reference touches while it executes a block, before and after.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "cpu/access_observer.h"
#include "memory/guest_memory.h"

namespace doppel::lockstep {

// A byte of guest memory as translated code and the interpreter left it.
struct ByteDifference {
  GuestPhys address;
  u8 translated;
  u8 interpreted;
};

// Both engines work on the same memory, one after the other. The interpreter goes first, and what it touches
// is copied before; set_aside() keeps what it made of it and restores what was there, so that translated code
// finds the same. Memory is kept in aligned pieces, so that a store beside its place is noticed, too, up to
// some distance. Used on one vCPU's thread while no other vCPU runs.
class TouchedMemory final : public AccessObserver {
 public:
  static constexpr u64 kPieceBytes = 256;
  static constexpr unsigned kMaxPieces = 256;

  explicit TouchedMemory(GuestMemory& memory);

  // Why an access was refused: what translated code leaves to its owner, too, or more than is kept.
  enum class Refusal : u8 { kNone, kDevice, kCodeFrame, kTooMuch };
  Refusal refusal() const { return refusal_; }

  // AccessObserver
  bool may_access(GuestPhys address, u64 size, bool is_write) override;
  void will_update(GuestPhys entry, u64 bits) override;
  bool has_refused() const override { return refusal_ != Refusal::kNone; }

  // Forgets everything: a block is about to be executed.
  void begin();
  // The interpreter is done: keeps what it left as what is expected.
  void set_aside();
  bool is_as_expected() const;
  // Is the byte in a piece that is kept?
  bool has(GuestPhys address) const;

  // For a second look: rewind() keeps what translated code left and restores what was there before; if that
  // was a part of the block, the interpreter does the same part, and set_aside() follows; then it walks to
  // what translated code may have looked at without executing it; then bring_back().
  void rewind();
  void bring_back();
  // Where memory is not as expected then, at most `most` bytes. Accessed and dirty bits are right with those
  // that the interpreter set beyond the part, and without.
  std::vector<ByteDifference> differences(unsigned most) const;

 private:
  using Bytes = std::array<u8, kPieceBytes>;
  struct Piece {
    u8* host;
    bool is_written;
    Bytes before;
    Bytes expected;
    Bytes translated;
  };
  bool touch(u64 address, bool is_write);
  struct Update {
    u64 entry;
    u64 bits;
  };
  const Bytes& expected_of(const Piece& piece) const {
    return piece.is_written ? piece.expected : piece.before;
  }
  bool is_optional(u64 address, u8 translated, u8 expected) const;

  GuestMemory& memory_;
  std::unique_ptr<Piece[]> pieces_;
  std::array<u64, kMaxPieces> addresses_ = {};  // of the pieces
  unsigned count_ = 0;
  unsigned rewound_ = 0;         // pieces that rewind() knew
  std::vector<Update> updates_;  // by all page walks since begin()
  Refusal refusal_ = Refusal::kNone;
};

}  // namespace doppel::lockstep
