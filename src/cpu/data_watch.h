// DataWatch: a debugger's watchpoints as a vCPU's memory accesses meet them.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "cpu/debug.h"

namespace doppel {

// Consulted on the slow path of accesses only: the Mmu keeps pages with watchpoints out of the software TLB.
// Owned by an engine's vCPU and used on its thread; Core and Mmu hold plain pointers while it is in use.
class DataWatch {
 public:
  explicit DataWatch(std::vector<Watchpoint> watchpoints) : watchpoints_(std::move(watchpoints)) {}

  bool is_empty() const { return watchpoints_.empty(); }
  // Does some watchpoint lie in the page of `address`?
  bool is_watched_page(GuestVirt address) const;

  enum class Access : u8 { kRead, kWrite, kProbe };  // kProbe: only checks whether a write would be allowed
  // An access of `size` bytes is about to happen. False: it must not, see set_deferring().
  bool note(GuestVirt address, u64 size, Access access);

  // While deferring, an access to watched bytes fails without a fault, so that the engine can execute its
  // instruction once more by itself and stop exactly behind it. take_deferred() tells that this happened.
  void set_deferring(bool is_deferring) { is_deferring_ = is_deferring; }
  bool take_deferred() { return std::exchange(has_deferred_, false); }

  // The first hit since it was last taken.
  std::optional<DebugHit> take_hit() { return std::exchange(hit_, std::nullopt); }

 private:
  std::vector<Watchpoint> watchpoints_;
  std::optional<DebugHit> hit_;
  bool is_deferring_ = false;
  bool has_deferred_ = false;
};

}  // namespace doppel
