// GuestMemory: the guest's RAM, the only way to reach it, and the record of which frames hold translated
// code.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/address.h"
#include "state/state_visitor.h"

namespace doppel {

// Hears of writes to frames that were marked as holding decoded or translated instructions.
class CodeWriteListener {
 public:
  virtual ~CodeWriteListener() = default;
  // Bytes [address, address + size) are about to change; they lie in one frame.
  virtual void code_written(GuestPhys address, u64 size) = 0;
};

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

  // Host pointer for an address for which is_ram() holds. Writers through it call note_write() first.
  u8* host(GuestPhys address) const { return base_ + address.value(); }

  // The file that RAM is: low RAM from offset 0, then what lies above 4 GiB. For those who map it elsewhere.
  int memfd() const { return memfd_.get(); }

  // Copies out of and into RAM; false (and nothing copied) when any byte is not RAM.
  bool read(GuestPhys address, std::span<u8> out) const;
  bool write(GuestPhys address, std::span<const u8> data);

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

  // Frames that hold translated code: stores to them must call note_write(), so no engine may let its own
  // fast path write to them. Marks are cleared by the listener through clear_code_frame().
  bool is_code_frame(GuestPhys address) const { return code_frames_[address.page_number()] != 0; }
  void mark_code_frame(GuestPhys address) { code_frames_[address.page_number()] = 1; }
  void clear_code_frame(GuestPhys address) { code_frames_[address.page_number()] = 0; }
  void set_code_write_listener(CodeWriteListener* listener) { listener_ = listener; }

  // Announces a store into RAM of `size` bytes, before it happens.
  void note_write(GuestPhys address, u64 size);

  // Clears whole pages of RAM and gives what backed them back to the host. is_ram() holds.
  void discard(GuestPhys address, u64 size);

  // RAM contents; zero pages are not stored.
  void visit_state(StateVisitor& visitor);

 private:
  GuestMemory() = default;
  // Where an address of RAM lies in the memfd.
  u64 file_offset(GuestPhys address) const {
    return address.value() < low_size() ? address.value() : low_size() + (address - GuestPhys(kHighRamStart));
  }

  UniqueFd memfd_;
  u8* base_ = nullptr;
  u64 reserved_ = 0;  // bytes of address space reserved at base_
  u64 size_ = 0;
  std::vector<u8> code_frames_;  // one per frame number below the end of RAM, the hole included
  CodeWriteListener* listener_ = nullptr;
};

}  // namespace doppel
