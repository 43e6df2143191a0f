// DirtyRings: the frames that vCPUs wrote, as KVM's rings tell them.
#pragma once

#include <linux/kvm.h>

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/kvm/kvm_ioctl.h"

namespace doppel::kvm {

// One vCPU's ring, mapped. KVM appends; harvest() takes what was appended, on one thread at a time.
class DirtyRing {
 public:
  static constexpr u32 kEntries = 4096;
  static constexpr u64 kBytes = kEntries * sizeof(kvm_dirty_gfn);

  DirtyRing() = default;
  DirtyRing(const DirtyRing&) = delete;
  DirtyRing& operator=(const DirtyRing&) = delete;
  ~DirtyRing();
  Result<void> map(const KvmFile& vcpu);

  // Calls `visit` with slot number and page in the slot, and lets KVM have the entries back at its next
  // reset.
  template <class Visit>
  void harvest(Visit&& visit) {
    for (kvm_dirty_gfn* entry = take(); entry != nullptr; entry = take()) {
      visit(entry->slot, entry->offset);
      give_back(*entry);
    }
  }

 private:
  kvm_dirty_gfn* take();
  void give_back(kvm_dirty_gfn& entry);

  kvm_dirty_gfn* entries_ = nullptr;
  u32 next_ = 0;
};

// One bit for each page of a slot.
using PageBitmap = std::vector<u64>;

// The rings of all vCPUs of a machine, and the pages that were taken from them: a ring that is full stops its
// vCPU. Owned by the KvmVm; called from any thread.
class DirtyRings {
 public:
  // `vm` outlives this. Sizes of the slots in pages, by slot number.
  DirtyRings(const KvmFile& vm, std::span<const u64> slot_pages);

  // Asks KVM for rings instead of the log, for a machine without vCPUs. False: it has none.
  static bool enable(const KvmFile& device, const KvmFile& vm);

  Result<void> add(const KvmFile& vcpu);
  // Empties the rings into the bitmaps.
  Result<void> harvest();
  // The bitmaps by slot number, which are empty afterwards.
  Result<std::vector<PageBitmap>> take();

 private:
  Result<void> harvest_locked();  // with mutex_
  std::vector<PageBitmap> empty_bitmaps() const;

  const KvmFile& vm_;
  const std::vector<u64> slot_pages_;
  std::mutex mutex_;                               // nothing else is locked with it held
  std::vector<std::unique_ptr<DirtyRing>> rings_;  // with mutex_
  std::vector<PageBitmap> pages_;                  // with mutex_
};

}  // namespace doppel::kvm
