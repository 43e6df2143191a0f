// GuestMemory: the guest's RAM, the only way to reach it, and the record of which frames hold translated
// code.
#pragma once

#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <type_traits>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/address.h"
#include "memory/code_frames.h"
#include "state/state_visitor.h"

namespace doppel {

// Guest RAM as one sealed memfd. RAM below 3 GiB starts at 0, the rest at 4 GiB (the PC's hole for devices);
// host address = base + guest-physical address. Owned by the machine; devices and engines hold references.
class GuestMemory {
 public:
  static constexpr u64 kLowRamLimit = 3 * kGiB;
  static constexpr u64 kHighRamStart = 4 * kGiB;
  static constexpr u64 kMinSize = kMiB;

  // `size` in bytes: at least kMinSize, a multiple of 4 KiB, at most what the host can back.
  static Result<std::unique_ptr<GuestMemory>> create(u64 size);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  u64 size() const { return size_; }
  u64 low_size() const { return size_ < kLowRamLimit ? size_ : kLowRamLimit; }
  u64 high_size() const { return size_ - low_size(); }

  // True when [address, address + length) is RAM without a hole.
  bool is_ram(GuestPhys address, u64 length) const {
    const u64 start = address.value();
    if (start < low_size()) return length <= low_size() - start;
    const u64 offset = start - kHighRamStart;
    return start >= kHighRamStart && offset < high_size() && length <= high_size() - offset;
  }

  // Host pointer for an address for which is_ram() holds. Writers through it call note_write() afterwards.
  u8* host(GuestPhys address) const { return base_ + address.value(); }

  // The file that RAM is: low RAM from offset 0, then what lies above 4 GiB. For those who map it elsewhere.
  int memfd() const { return memfd_.get(); }
  // Where an address of RAM lies in it.
  u64 file_offset(GuestPhys address) const {
    return address.value() < low_size() ? address.value() : low_size() + (address - GuestPhys(kHighRamStart));
  }

  // Copies out of and into RAM; false (and nothing copied) when any byte is not RAM. Aligned 1, 2, 4 or 8
  // bytes are copied as one. `writer`: the vCPU whose own store it is.
  bool read(GuestPhys address, std::span<u8> out) const;
  bool write(GuestPhys address, std::span<const u8> data, CodeFrames::UserId writer = CodeFrames::kNobody);

  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> read_value(GuestPhys address) const {
    T value;
    if (!read(address, {reinterpret_cast<u8*>(&value), sizeof(value)})) return std::nullopt;
    return value;
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  bool write_value(GuestPhys address, const T& value) {
    return write(address, {reinterpret_cast<const u8*>(&value), sizeof(value)});
  }

  // Which frames hold decoded code: stores to them must be told by note_write(), so no engine may let its own
  // fast path write to them.
  CodeFrames& code_frames() { return *code_frames_; }
  bool is_code_frame(GuestPhys address) const { return code_frames_->is_marked(address.page_number()); }

  // Tells of a store into RAM of `size` bytes, after it happened. Any thread.
  void note_write(GuestPhys address, u64 size, CodeFrames::UserId writer = CodeFrames::kNobody);

  // Held by locked instructions whose operand lies in two places.
  std::mutex& split_lock() { return split_lock_; }

  // Clears whole pages of RAM and gives what backed them back to the host. is_ram() holds.
  void discard(GuestPhys address, u64 size);

  // RAM contents; zero pages are not stored.
  void visit_state(StateVisitor& visitor);

 private:
  GuestMemory() = default;

  UniqueFd memfd_;
  u8* base_ = nullptr;
  u64 reserved_ = 0;  // bytes of address space reserved at base_
  u64 size_ = 0;
  std::unique_ptr<CodeFrames> code_frames_;  // of the frame numbers below the end of RAM, the hole included
  std::mutex split_lock_;
};

}  // namespace doppel
