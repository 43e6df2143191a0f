// Mmu: a vCPU's paging unit: page walks, the software TLB, and the TLB-maintenance events.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "cpu/access_observer.h"
#include "cpu/code_pages.h"
#include "cpu/cpu_state.h"
#include "cpu/data_watch.h"
#include "cpu/platform.h"
#include "cpu/tlb.h"
#include "memory/guest_memory.h"

namespace doppel {

enum class Access : u8 { kRead, kWrite, kFetch };

// Memory next to an address space's translation tables that an engine may use as it likes; what it needs for
// every access lies at a fixed distance from them.
inline constexpr u64 kEngineAreaBytes = 512 * kKiB;
struct alignas(kPageSize) EngineArea {
  std::array<u8, kEngineAreaBytes> bytes;
};

// Hears what makes cached translations stale; the software TLB itself is maintained by the Mmu.
class TlbListener {
 public:
  virtual ~TlbListener() = default;
  virtual void flush_page(GuestVirt address) = 0;
  // Every non-global translation of the address space with this PCID.
  virtual void flush_context(u16 pcid) = 0;
  virtual void flush_all() = 0;
  // Direct writes are over, to a frame or to all.
  virtual void protect_frame(GuestPhys frame) = 0;
  virtual void protect_all_frames() = 0;
};

struct TlbStatistics {
  u64 fills = 0;
  u64 uncached = 0;  // translations that are looked up each time: devices, watched pages
  u64 walk_references = 0;
  u64 page_faults = 0;
  u64 flushes = 0;
  // Walks by how many paging entries they read; `failed_walks` ended in a page fault.
  static constexpr unsigned kMaxLevels = 5;
  std::array<u64, kMaxLevels + 1> walks = {};
  std::array<u64, kMaxLevels + 1> failed_walks = {};

  // Memory references the same walks would have cost with nested paging of `nested_levels`: every entry of
  // the guest's tables, and the page itself, has a guest-physical address that needs a walk of its own, so
  // that n levels cost n * m + n + m, or without the page n * m + n. SDM 3C 28.3.2.
  u64 nested_references(u64 nested_levels) const;
  // Lookups for data that found nothing.
  u64 misses() const { return fills + uncached + page_faults; }
};

// Why a translation failed: a page fault's error code, or a non-canonical / unusable address.
struct Translation {
  bool is_valid = false;
  u32 error_code = 0;
  GuestPhys physical;
  u64 page_size = kPageSize;
  bool is_writable = false;  // writes would be allowed and the dirty bit is set
  bool is_global = false;
};

// Owned by one vCPU and used on its thread only. Translations may be stale exactly as on hardware: until
// INVLPG, INVPCID, or a write to CR3, CR0 or CR4. Page tables are never write-protected.
class Mmu {
 public:
  Mmu(CpuState& state, GuestMemory& memory, CpuPlatform& platform);

  // The tables of one address space, and the area of the engine in front of them.
  struct AddressSpace {
    EngineArea area;
    std::array<TlbTable, kAccessModes> tables;
  };
  AddressSpace& address_space() { return contexts_[current_]->space; }
  // The table for accesses in `mode` in the current address space.
  TlbTable& table(AccessMode mode) { return address_space().tables[mode]; }
  // Where a host address that a table gave lies in the guest.
  GuestPhys physical(const u8* host) const {
    return GuestPhys(static_cast<u64>(host - memory_.host(GuestPhys(0))));
  }

  // Page walk with accessed/dirty updates; no TLB involved. The address is canonical.
  Translation walk(GuestVirt address, Access access, AccessMode mode);

  // Walks and enters the translation into the TLB when it is RAM that may be accessed directly.
  Translation fill(GuestVirt address, Access access, AccessMode mode);

  // Code translations: identifies the current address space and privilege for caches keyed by virtual
  // address, one number for each half of the address space (index: bit 63). A cached (address, number)
  // pair stays valid as long as the number is current.
  u64 code_epoch(bool is_user, unsigned half) const;
  Translation translate_code(GuestVirt address, bool is_user);

  // CR3 was written with `value` (bit 63: keep translations of that PCID). SDM 3A 4.10.4.1.
  void switch_context(u64 value);
  void flush_page(GuestVirt address);
  void flush_context(u16 pcid);
  void flush_all();
  void add_listener(TlbListener* listener) { listeners_.push_back(listener); }

  // A frame now holds decoded instructions: no table may grant direct writes to it any more. Or so of all
  // frames.
  void protect_frame(GuestPhys frame);
  void protect_all_frames();
  // On whose behalf GuestMemory's frames are written.
  void set_code_user(CodeFrames::UserId user) { code_user_ = user; }
  CodeFrames::UserId code_user() const { return code_user_; }

  // Data addresses mean what they mean to `leader`, and so do those of code; nothing is entered into any
  // table. `observer` hears of updates that walks make to paging entries, which nobody else is told of.
  void follow(Mmu& leader, AccessObserver& observer) {
    leader_ = &leader;
    observer_ = &observer;
  }

  // Pages with a data breakpoint are never entered, so that each access takes the slow path.
  void set_watched(bool is_watching) { is_watching_ = is_watching; }
  // The same for the pages with a debugger's watchpoints; null: none. flush_all() makes it take effect.
  void set_data_watch(const DataWatch* watch) { data_watch_ = watch; }

  void set_physical_bits(unsigned bits) { physical_bits_ = bits; }
  const TlbStatistics& statistics() const { return statistics_; }

  // Reads RAM or devices, within one page.
  void read_physical(GuestPhys address, std::span<u8> data);

 private:
  static constexpr unsigned kContexts = 8;
  static constexpr unsigned kCodeTlbEntries = 256;

  // One address space's translations.
  struct Context {
    AddressSpace space;
    u16 pcid = 0;
    u64 last_use = 0;
    CodePages code;  // of the lower half
  };
  struct CodeTlbEntry {
    u64 page = ~u64{0};
    u64 epoch = 0;
    u64 frame = 0;
  };
  struct Walk;

  Translation find_in_leader(GuestVirt address, Access access, AccessMode mode);
  void clear_context(Context& context);
  unsigned oldest_context();
  template <class F>
  void each_context(F f);
  Translation walk_legacy(Walk& walk);
  Translation walk_wide(Walk& walk);
  Translation finish(Walk& walk, u64 physical, u64 page_size);
  Translation fault(const Walk& walk, u32 bits);
  bool read_entry(Walk& walk, u64 address, unsigned bytes);
  bool update_entry(u64 address, u64 old_value, u64 bits, unsigned bytes);
  u64 reserved_mask() const;

  CpuState& state_;
  GuestMemory& memory_;
  CpuPlatform& platform_;
  std::vector<std::unique_ptr<Context>> contexts_;  // made when first used
  unsigned current_ = 0;
  u64 use_clock_ = 0;
  u64 next_epoch_ = 1;
  CodePages kernel_code_;  // of the upper half, shared by all contexts because its pages are global
  bool kernel_half_has_local_code_ = false;  // a non-global page of the upper half was fetched from
  std::array<CodeTlbEntry, kCodeTlbEntries> code_tlb_;
  CodeFrames::UserId code_user_ = CodeFrames::kNobody;
  std::vector<TlbListener*> listeners_;
  TlbStatistics statistics_;
  unsigned physical_bits_ = 46;
  bool is_watching_ = false;
  const DataWatch* data_watch_ = nullptr;
  Mmu* leader_ = nullptr;  // see follow()
  AccessObserver* observer_ = nullptr;
};

}  // namespace doppel
