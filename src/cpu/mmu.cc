// Software TLB maintenance: contexts, flushes, fills.
#include "cpu/mmu.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"

namespace doppel {

Mmu::Mmu(CpuState& state, GuestMemory& memory, CpuPlatform& platform)
    : state_(state), memory_(memory), platform_(platform) {
  contexts_.resize(kContexts);
  contexts_[0] = std::make_unique_for_overwrite<Context>();
  flush_all();
}

u64 Mmu::code_epoch(bool is_user, unsigned half) const {
  if (leader_ != nullptr) return leader_->code_epoch(is_user, half);
  return (half != 0 ? kernel_code_.epoch() : contexts_[current_]->code.epoch()) << 1 | (is_user ? 1 : 0);
}

void Mmu::clear_context(Context& context) {
  for (TlbTable& table : context.space.tables) table.clear();
  context.code.restart(next_epoch_++);
  ++statistics_.flushes;
}

void Mmu::switch_context(u64 value) {
  const bool has_pcid = (state_.cr4 & x86::kCr4Pcide) != 0;
  const u16 pcid = has_pcid ? value & 0xfff : 0;
  const bool keep = has_pcid && bit(value, 63);
  unsigned chosen = kContexts;
  for (unsigned i = 0; i < kContexts; ++i) {
    if (contexts_[i] && contexts_[i]->pcid == pcid) chosen = i;
  }
  bool is_fresh = !keep;
  if (chosen == kContexts) {
    chosen = oldest_context();
    is_fresh = true;
  }
  current_ = chosen;
  Context& context = *contexts_[chosen];
  context.pcid = pcid;
  context.last_use = ++use_clock_;
  if (is_fresh) clear_context(context);
  if (kernel_half_has_local_code_) {
    kernel_code_.restart(next_epoch_++);
    kernel_half_has_local_code_ = false;
  }
  if (is_fresh) {
    for (TlbListener* listener : listeners_) listener->flush_context(pcid);
  }
}

// The one to give to another address space; made when it was never used.
unsigned Mmu::oldest_context() {
  unsigned chosen = 0;
  for (unsigned i = 0; i < kContexts; ++i) {
    if (!contexts_[i]) {
      contexts_[i] = std::make_unique_for_overwrite<Context>();
      return i;
    }
    if (contexts_[i]->last_use < contexts_[chosen]->last_use) chosen = i;
  }
  return chosen;
}

template <class F>
void Mmu::each_context(F f) {
  for (auto& context : contexts_) {
    if (context) f(*context);
  }
}

void Mmu::flush_page(GuestVirt address) {
  each_context([&](Context& context) {
    for (TlbTable& table : context.space.tables) table.drop_page(address.value());
    if (context.code.contains(address)) context.code.restart(next_epoch_++);
  });
  if (kernel_code_.contains(address)) kernel_code_.restart(next_epoch_++);
  for (TlbListener* listener : listeners_) listener->flush_page(address);
}

void Mmu::flush_context(u16 pcid) {
  each_context([&](Context& context) {
    if (context.pcid == pcid) clear_context(context);
  });
  if (kernel_half_has_local_code_) kernel_code_.restart(next_epoch_++);
  for (TlbListener* listener : listeners_) listener->flush_context(pcid);
}

void Mmu::flush_all() {
  each_context([&](Context& context) { clear_context(context); });
  kernel_code_.restart(next_epoch_++);
  for (TlbListener* listener : listeners_) listener->flush_all();
}

// What the leader has in its tables is good for the follower, however stale; for the rest both walk.
Translation Mmu::find_in_leader(GuestVirt address, Access access, AccessMode mode) {
  const TlbTable& table = leader_->table(mode);
  const u8* host = (access == Access::kWrite ? table.write : table.read).find(address.value(), 1);
  if (host == nullptr) return walk(address, access, mode);
  Translation result;
  result.is_valid = true;
  result.physical = physical(host);
  return result;
}

Translation Mmu::fill(GuestVirt address, Access access, AccessMode mode) {
  if (leader_ != nullptr) return find_in_leader(address, access, mode);
  const Translation result = walk(address, access, mode);
  if (!result.is_valid) {
    ++statistics_.page_faults;
    return result;
  }
  const GuestPhys frame = result.physical.page_base();
  const bool is_watched = is_watching_ || (data_watch_ != nullptr && data_watch_->is_watched_page(address));
  if (is_watched || !memory_.is_ram(frame, kPageSize)) {
    ++statistics_.uncached;
    return result;
  }
  ++statistics_.fills;
  const u64 page = address.page_base().value();
  const bool is_writable =
      result.is_writable && memory_.code_frames().grant_write(frame.page_number(), code_user_);
  table(mode).enter(page, reinterpret_cast<u64>(memory_.host(frame)) - page, is_writable,
                    result.page_size > kPageSize);
  return result;
}

Translation Mmu::translate_code(GuestVirt address, bool is_user) {
  if (leader_ != nullptr) return leader_->translate_code(address, is_user);
  const unsigned half = address.value() >> 63;
  const u64 page = address.page_number();
  CodeTlbEntry& entry = code_tlb_[page % kCodeTlbEntries];
  const u64 epoch = code_epoch(is_user, half);
  Translation result;
  if (entry.page == page && entry.epoch == epoch) {
    result.is_valid = true;
    result.physical = GuestPhys(entry.frame + address.page_offset());
    return result;
  }
  result = walk(address, Access::kFetch, is_user ? kUser : kSupervisor);
  if (!result.is_valid) {
    ++statistics_.page_faults;
    return result;
  }
  entry = {page, epoch, result.physical.page_base().value()};
  CodePages& pages = half != 0 ? kernel_code_ : contexts_[current_]->code;
  pages.insert(address, result.page_size);
  if (half != 0 && !result.is_global) kernel_half_has_local_code_ = true;
  return result;
}

void Mmu::protect_frame(GuestPhys frame) {
  const u64 host = reinterpret_cast<u64>(memory_.host(frame.page_base()));
  each_context([&](Context& context) {
    for (TlbTable& table : context.space.tables) table.drop_writes_to(host);
  });
  for (TlbListener* listener : listeners_) listener->protect_frame(frame.page_base());
}

void Mmu::protect_all_frames() {
  each_context([](Context& context) {
    for (TlbTable& table : context.space.tables) table.drop_writes();
  });
  for (TlbListener* listener : listeners_) listener->protect_all_frames();
}

// Devices see at most 8 bytes at a time.
void Mmu::read_physical(GuestPhys address, std::span<u8> data) {
  if (memory_.read(address, data)) return;
  for (u64 done = 0; done < data.size(); done += 8) {
    platform_.read_mmio(address + done, data.subspan(done, std::min<u64>(8, data.size() - done)));
  }
}

}  // namespace doppel
