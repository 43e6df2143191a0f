// Which frames the guest wrote: KVM's dirty rings, or its dirty log where there are none.
#include <bit>

#include "engine/kvm/kvm_vm.h"

namespace doppel::kvm {

// The rings take the log's place for as long as the machine lives. A machine that is not watched pays for
// their memory only. Software KVM interprets on when a ring is full, and overwrites it.
void KvmVm::prepare_dirty_rings() {
  if (!KvmDevice::is_processor_capable() || !DirtyRings::enable(device_.file(), file_)) return;
  std::vector<u64> pages;
  for (const Slot& slot : slots_) pages.push_back(slot.size >> kPageShift);
  rings_ = std::make_unique<DirtyRings>(file_, pages);
}

Result<void> KvmVm::add_vcpu(const KvmFile& vcpu) {
  if (!rings_) return {};
  return rings_->add(vcpu);
}

Result<void> KvmVm::start_dirty_log() {
  for (const Slot& slot : slots_) TRY_VOID(set_slot(slot, KVM_MEM_LOG_DIRTY_PAGES));
  return {};
}

Result<PageBitmap> KvmVm::read_log(const Slot& slot) const {
  PageBitmap bitmap(((slot.size >> kPageShift) + 63) / 64);
  kvm_dirty_log log{};
  log.slot = slot.number;
  log.dirty_bitmap = bitmap.data();
  TRY_VOID(file_.apply(KVM_GET_DIRTY_LOG, &log, "the dirty log"));
  return bitmap;
}

Result<void> KvmVm::collect_dirty(const std::function<void(GuestPhys)>& visit) {
  std::vector<PageBitmap> bitmaps;
  if (rings_) bitmaps = TRY(rings_->take());
  for (const Slot& slot : slots_) {
    const PageBitmap bitmap = rings_ ? std::move(bitmaps[slot.number]) : TRY(read_log(slot));
    for (u64 i = 0; i < bitmap.size(); ++i) {
      for (u64 word = bitmap[i]; word != 0; word &= word - 1) {
        visit(slot.address + ((i * 64 + static_cast<u64>(std::countr_zero(word))) << kPageShift));
      }
    }
  }
  return {};
}

// What the rings still hold means nothing to the next start.
Result<void> KvmVm::stop_dirty_log() {
  for (const Slot& slot : slots_) TRY_VOID(set_slot(slot, 0));
  if (rings_) TRY(rings_->take());
  return {};
}

}  // namespace doppel::kvm
