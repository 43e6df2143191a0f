// Mapping and emptying KVM's dirty rings. Kernel: Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING.
#include "engine/kvm/kvm_dirty.h"

#include <sys/mman.h>

#include <atomic>
#include <utility>

#include "memory/address.h"

namespace doppel::kvm {

DirtyRing::~DirtyRing() {
  if (entries_ != nullptr) ::munmap(entries_, kBytes);
}

Result<void> DirtyRing::map(const KvmFile& vcpu) {
  constexpr auto kOffset = static_cast<off_t>(KVM_DIRTY_LOG_PAGE_OFFSET * kPageSize);
  void* entries = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), kOffset);
  if (entries == MAP_FAILED) return fail("KVM: mapping a vCPU's dirty ring: {}", std::strerror(errno));
  entries_ = static_cast<kvm_dirty_gfn*>(entries);
  return {};
}

// KVM fills the entry before it sets the flag.
kvm_dirty_gfn* DirtyRing::take() {
  kvm_dirty_gfn& entry = entries_[next_ % kEntries];
  const u32 flags = std::atomic_ref(entry.flags).load(std::memory_order_acquire);
  return (flags & KVM_DIRTY_GFN_F_DIRTY) != 0 ? &entry : nullptr;
}

void DirtyRing::give_back(kvm_dirty_gfn& entry) {
  std::atomic_ref(entry.flags).store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
  ++next_;
}

DirtyRings::DirtyRings(const KvmFile& vm, std::span<const u64> slot_pages)
    : vm_(vm), slot_pages_(slot_pages.begin(), slot_pages.end()), pages_(empty_bitmaps()) {}

std::vector<PageBitmap> DirtyRings::empty_bitmaps() const {
  std::vector<PageBitmap> bitmaps;
  for (const u64 pages : slot_pages_) bitmaps.emplace_back((pages + 63) / 64);
  return bitmaps;
}

bool DirtyRings::enable(const KvmFile& device, const KvmFile& vm) {
  const int largest = device.try_call(KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
  if (largest < 0 || static_cast<u64>(largest) < DirtyRing::kBytes) return false;
  kvm_enable_cap rings{};
  rings.cap = KVM_CAP_DIRTY_LOG_RING;
  rings.args[0] = DirtyRing::kBytes;
  return vm.try_call(KVM_ENABLE_CAP, &rings) == 0;
}

Result<void> DirtyRings::add(const KvmFile& vcpu) {
  auto ring = std::make_unique<DirtyRing>();
  TRY_VOID(ring->map(vcpu));
  const std::lock_guard lock(mutex_);
  rings_.push_back(std::move(ring));
  return {};
}

// The pages of the entries that KVM gets back are watched again.
Result<void> DirtyRings::harvest_locked() {
  for (const std::unique_ptr<DirtyRing>& ring : rings_) {
    ring->harvest([this](u32 slot, u64 page) {
      if (slot < pages_.size() && page < slot_pages_[slot]) pages_[slot][page / 64] |= u64{1} << (page % 64);
    });
  }
  return vm_.apply(KVM_RESET_DIRTY_RINGS, 0, "emptying dirty rings");
}

Result<void> DirtyRings::harvest() {
  const std::lock_guard lock(mutex_);
  return harvest_locked();
}

Result<std::vector<PageBitmap>> DirtyRings::take() {
  const std::lock_guard lock(mutex_);
  TRY_VOID(harvest_locked());
  return std::exchange(pages_, empty_bitmaps());
}

}  // namespace doppel::kvm
