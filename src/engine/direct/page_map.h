// PageMap: what a stub process has mapped of its guest's address space, and what has to be unmapped.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/direct/stub_layout.h"

namespace doppel::direct {

// A TLB, in effect: entries come from page walks, and go when the guest says that translations are stale.
// Owned by one address space of one vCPU.
class PageMap {
 public:
  struct Page {
    u32 frame = 0;      // the guest-physical page number
    u8 protection = 0;  // PROT_ bits; 0: not mapped
  };

  Page find(u64 address) const;
  // `page`: from a large page of the guest if `is_large`, so that they are flushed together.
  void enter(u64 address, Page page, bool is_large);

  void flush_page(u64 address);
  void flush_all();
  // No writes any more to a frame, or to any.
  void protect_frame(u32 frame) { drop_if(frame, kWrite); }
  void protect_all();
  // No fetches any more from a frame.
  void drop_code(u32 frame) { drop_if(frame, kExecute); }

  // munmap() calls for what was flushed. Nothing is pending afterwards.
  std::vector<HostCall> take_calls();
  u64 size() const { return size_; }

 private:
  static constexpr u8 kWrite = 2;
  static constexpr u8 kExecute = 4;
  static constexpr unsigned kRegionShift = 21;  // of a large page
  static constexpr u64 kMostCalls = 20;         // more are one that unmaps everything
  struct Region {
    std::array<Page, 1u << (kRegionShift - kPageShift)> pages = {};
    bool is_large = false;
  };

  void drop(u64 address, u64 size);
  void drop_if(u32 frame, u8 protection);

  std::unordered_map<u64, std::unique_ptr<Region>> regions_;
  std::vector<HostCall> pending_;
  bool unmaps_all_ = false;
  u64 size_ = 0;
};

}  // namespace doppel::direct
