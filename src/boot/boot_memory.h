// BootMemory: guest RAM while a loader fills it, with the record of what is still free.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "boot/e820.h"
#include "memory/guest_memory.h"

namespace doppel {

class BootMemory;

// Guest RAM that a loader works in, so that its work costs the host nothing beyond the guest's own memory.
// Clear and free again when this goes; the BootMemory it came from outlives it.
class BorrowedRam {
 public:
  BorrowedRam(BootMemory& owner, GuestPhys start, u64 size) : owner_(&owner), start_(start), size_(size) {}
  BorrowedRam(BorrowedRam&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), start_(other.start_), size_(other.size_) {}
  BorrowedRam& operator=(BorrowedRam&&) = delete;
  ~BorrowedRam();

  std::span<u8> bytes() const;

 private:
  BootMemory* owner_;
  GuestPhys start_;
  u64 size_;
};

// Hands out the RAM that the memory map calls free, each byte once, so that kernel, initrd, page tables and
// boot structures cannot overlap whatever addresses a file asks for. Made by one loader for one boot.
class BootMemory {
 public:
  // Places nothing below this: real-mode interrupt vectors and BIOS data.
  static constexpr u64 kFirstUsable = 0x1000;

  BootMemory(GuestMemory& memory, std::span<const E820Entry> e820);

  // Takes [start, start + size) when all of it is free.
  bool claim(GuestPhys start, u64 size);

  // Takes the highest / lowest free range of `size` bytes that ends at or below / starts at or above `limit`,
  // in RAM below 4 GiB. `alignment` is a power of two.
  std::optional<GuestPhys> claim_highest(u64 size, u64 alignment, u64 limit);
  std::optional<GuestPhys> claim_lowest(u64 size, u64 alignment, u64 limit);

  // Takes [start, start + size), copies `data` to its begin and clears the rest. `what` names it in errors.
  Result<void> load(std::string_view what, GuestPhys start, std::span<const u8> data, u64 size);

  // Takes a place for a structure that the loader hands to the guest, below 640 KiB if possible, and fills
  // it.
  Result<GuestPhys> store(std::string_view what, std::span<const u8> data, u64 alignment);
  Result<GuestPhys> store_string(std::string_view what, std::string_view text);

  // Lends the highest free RAM at or above `floor`, to work in; nothing when `size` bytes are not free there.
  std::optional<BorrowedRam> borrow(u64 size, u64 floor);

  // Copies into memory that was claimed before.
  void fill(GuestPhys start, std::span<const u8> data, u64 size);

  u64 ram_size() const { return memory_.size(); }

 private:
  friend class BorrowedRam;
  struct Range {
    u64 start;
    u64 end;
  };
  void take(std::size_t index, Range used);
  void give_back(Range range);

  GuestMemory& memory_;
  std::vector<Range> free_;  // sorted, disjoint, none empty
};

}  // namespace doppel
