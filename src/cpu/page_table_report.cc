// Walking all of the page tables. SDM 3A chapter 4.
#include "cpu/page_table_report.h"

#include <fmt/format.h>

#include <optional>

#include "x86/registers.h"

namespace doppel {
namespace {

constexpr u64 kPresent = 1u << 0;
constexpr u64 kWritable = 1u << 1;
constexpr u64 kUserPage = 1u << 2;
constexpr u64 kLarge = 1u << 7;
constexpr u64 kGlobal = 1u << 8;
constexpr u64 kNoExecute = u64{1} << 63;
constexpr u64 kAddressMask = 0x000ffffffffff000;
constexpr unsigned kMaxLines = 400;
// Tables that refer to themselves have as many paths as one likes.
constexpr u64 kMaxEntries = 4u << 20;

struct Mapping {
  u64 va;
  u64 size;
  u64 physical;
  u64 page_size;
  u64 rights;
};

class Reporter {
 public:
  Reporter(const CpuState& state, const GuestMemory& memory) : state_(state), memory_(memory) {}

  std::string take() {
    flush();
    if (is_cut_) text_ += "(more is mapped)\n";
    return text_.empty() ? "nothing is mapped\n" : text_;
  }

  // `level` tables below this one, each with 8-byte entries.
  void walk_wide(u64 table, unsigned level, u64 va, u64 rights) {
    for (u64 i = 0; i < 512 && may_go_on(); ++i) {
      const unsigned shift = 12 + 9 * (level - 1);
      const std::optional<u64> entry = memory_.read_value<u64>(GuestPhys(table + i * 8));
      if (entry && (*entry & kPresent) != 0) visit_wide(*entry, level, canonical(va + (i << shift)), rights);
    }
  }

  void walk_legacy() {
    const u64 directory = state_.cr3 & 0xfffff000;
    for (u64 i = 0; i < 1024 && may_go_on(); ++i) {
      const std::optional<u32> entry = memory_.read_value<u32>(GuestPhys(directory + i * 4));
      if (!entry || (*entry & kPresent) == 0) continue;
      const u64 base = (*entry & 0xffc00000) | bits(*entry, 13, 8) << 32;
      if ((*entry & kLarge) != 0 && (state_.cr4 & x86::kCr4Pse) != 0)
        add({i << 22, 4 * kMiB, base, 4 * kMiB, *entry & (kWritable | kUserPage | kGlobal)});
      else
        walk_legacy_table(*entry, i << 22);
    }
  }

 private:
  void walk_legacy_table(u32 directory_entry, u64 va) {
    for (u64 i = 0; i < 1024 && may_go_on(); ++i) {
      const std::optional<u32> entry =
          memory_.read_value<u32>(GuestPhys((directory_entry & 0xfffff000) + i * 4));
      if (!entry || (*entry & kPresent) == 0) continue;
      const u64 rights = *entry & directory_entry & (kWritable | kUserPage);
      add({va + (i << 12), kPageSize, *entry & 0xfffff000, kPageSize, rights | (*entry & kGlobal)});
    }
  }

  void visit_wide(u64 entry, unsigned level, u64 va, u64 rights) {
    const u64 both = kWritable | kUserPage;
    const u64 now = (rights & entry & both) | ((rights | entry) & kNoExecute);
    const u64 page_size = u64{1} << (12 + 9 * (level - 1));
    const bool is_page = level == 1 || ((entry & kLarge) != 0 && level <= 3);
    if (is_page)
      add({va, page_size, entry & kAddressMask & ~(page_size - 1), page_size, now | (entry & kGlobal)});
    else
      walk_wide(entry & kAddressMask, level - 1, va, now);
  }

  u64 canonical(u64 va) const {
    if ((state_.efer & x86::kEferLma) == 0) return va;
    const unsigned unused_bits = (state_.cr4 & x86::kCr4La57) != 0 ? 7 : 16;
    return static_cast<u64>(static_cast<i64>(va << unused_bits) >> unused_bits);
  }

  bool may_go_on() {
    if (lines_ < kMaxLines && ++entries_ < kMaxEntries) return true;
    is_cut_ = true;
    return false;
  }

  void add(const Mapping& page) {
    if (run_ && run_->va + run_->size == page.va && run_->physical + run_->size == page.physical &&
        run_->page_size == page.page_size && run_->rights == page.rights) {
      run_->size += page.size;
      return;
    }
    flush();
    run_ = page;
  }

  void flush() {
    if (!run_) return;
    const auto flag = [this](u64 bit, char letter) { return (run_->rights & bit) != 0 ? letter : '-'; };
    text_ +=
        fmt::format("{:016x}-{:016x} -> {:012x} {:>5} K  {}{}{}{}\n", run_->va, run_->va + (run_->size - 1),
                    run_->physical, run_->page_size / kKiB, flag(kUserPage, 'u'), flag(kWritable, 'w'),
                    (run_->rights & kNoExecute) != 0 ? '-' : 'x', flag(kGlobal, 'g'));
    ++lines_;
    run_.reset();
  }

  const CpuState& state_;
  const GuestMemory& memory_;
  std::string text_;
  std::optional<Mapping> run_;
  unsigned lines_ = 0;
  u64 entries_ = 0;
  bool is_cut_ = false;
};

}  // namespace

std::string page_table_report(const CpuState& state, const GuestMemory& memory) {
  if ((state.cr0 & x86::kCr0Pg) == 0) return "paging is off\n";
  Reporter reporter(state, memory);
  if ((state.cr4 & x86::kCr4Pae) == 0) {
    reporter.walk_legacy();
  } else if ((state.efer & x86::kEferLma) != 0) {
    const unsigned levels = (state.cr4 & x86::kCr4La57) != 0 ? 5 : 4;
    reporter.walk_wide(state.cr3 & kAddressMask, levels, 0, kWritable | kUserPage);
  } else {
    for (u64 i = 0; i < 4; ++i) {
      const u64 pointer = state.pdpte[i];
      if ((pointer & kPresent) != 0)
        reporter.walk_wide(pointer & kAddressMask, 2, i << 30, kWritable | kUserPage);
    }
  }
  return reporter.take();
}

}  // namespace doppel
