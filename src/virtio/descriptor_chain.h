// DescriptorChain: one buffer that the driver made available: validated pieces of guest RAM to read and to
// write.
#pragma once

#include <optional>
#include <span>
#include <type_traits>

#include "memory/guest_memory.h"
#include "virtio/iovec_list.h"

namespace doppel {

// What names a chain when it goes back to the driver. The split ring's head index or the packed ring's buffer
// id, and the number of ring slots it takes (always 1 in a split ring).
struct ChainToken {
  u16 id = 0;
  u16 slots = 1;
};

// A chain as it was when the queue read it, once: every piece lies in RAM, pieces of length 0 are left out,
// and both parts together hold less than 4 GiB. Other CPUs may still change the bytes at any time: copy out,
// then validate. Pieces may overlap. Made by VirtQueue::pop(); owned by the device while the request is in
// flight. Spans given out point into the chain: it must not move while they are used.
class DescriptorChain {
 public:
  DescriptorChain() = default;
  explicit DescriptorChain(GuestMemory& memory) : memory_(&memory) {}

  ChainToken token() const { return token_; }

  // The driver's bytes for the device, and the room for the device's answer.
  std::span<const iovec> readable() const { return parts_.span().first(readable_count_); }
  std::span<const iovec> writable() const { return parts_.span().subspan(readable_count_); }
  u64 readable_size() const { return readable_size_; }
  u64 writable_size() const { return writable_size_; }

  // Where in guest RAM a byte of a piece lies.
  GuestPhys guest_address(const void* host) const {
    return GuestPhys(static_cast<u64>(static_cast<const u8*>(host) - memory_->host(GuestPhys(0))));
  }

  // Bytes [offset, offset + length) of a part, cut at its end: for back ends that transfer directly.
  IovecList readable_slice(u64 offset, u64 length) const;
  IovecList writable_slice(u64 offset, u64 length) const;

  // Copy from the readable part at `offset` / to the writable part at `offset`, cut at its end; the result is
  // the number of bytes copied.
  std::size_t read(u64 offset, std::span<u8> out) const;
  std::size_t write(u64 offset, std::span<const u8> data) const;
  // Zeroes instead of data.
  std::size_t write_zeroes(u64 offset, u64 length) const;

  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> read_value(u64 offset) const {
    T value;
    if (read(offset, {reinterpret_cast<u8*>(&value), sizeof(value)}) != sizeof(value)) return std::nullopt;
    return value;
  }
  // False when it does not fit; then a prefix may have been written.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  bool write_value(u64 offset, const T& value) const {
    return write(offset, {reinterpret_cast<const u8*>(&value), sizeof(value)}) == sizeof(value);
  }

  // Tells whoever holds translated code that bytes [offset, offset + length) of the writable part changed,
  // for those who write through writable() themselves. write() does it, and so does VirtQueue::push() for
  // what was written from the start of the part.
  void announce_writes(u64 offset, u64 length) const;

  // A chain in flight as state: guest addresses, not host pointers. Loading refuses what is not RAM, and
  // leaves an empty chain.
  void visit_state(StateVisitor& visitor, GuestMemory& memory);

  // For the rings. False when the piece is refused: not RAM, a readable piece after a writable one, or 4 GiB
  // in total.
  bool append(GuestPhys address, u32 length, bool is_writable);
  void set_token(ChainToken token) { token_ = token; }

  // Which life of its queue a chain belongs to: it is of no use after a reset. Not part of the state.
  u32 queue_life() const { return queue_life_; }
  void set_queue_life(u32 life) { queue_life_ = life; }

 private:
  void clear();

  GuestMemory* memory_ = nullptr;
  ChainToken token_;
  u32 queue_life_ = 0;
  IovecList parts_;  // readable ones first
  std::size_t readable_count_ = 0;
  u64 readable_size_ = 0;
  u64 writable_size_ = 0;
};

// Bytes [offset, offset + length) of `parts`, cut at their end.
IovecList slice(std::span<const iovec> parts, u64 offset, u64 length);

}  // namespace doppel
