// Running a stub process, and giving it pages when it faults.
#include "engine/direct/direct_space.h"

#include <sys/mman.h>

#include "cpu/debug_walk.h"
#include "engine/direct/code_scan.h"

namespace doppel::direct {
namespace {

constexpr u64 kLargePage = 2 * kMiB;
constexpr u64 kAround = 64;          // pages that are looked at around one that faulted
constexpr u64 kMostPages = 200'000;  // of a process; the host allows some 65,000 separate mappings
constexpr u8 kReadCode = PROT_READ | PROT_EXEC;

}  // namespace

bool ScannedFrames::is_runnable(u64 address, GuestPhys frame) {
  const u64 number = frame.page_number();
  if (const auto known = verdicts_.find(number); known != verdicts_.end()) return known->second;
  CodeFrames& code_frames = core_.memory.code_frames();
  const CodeFrames::UserId user = core_.mmu.code_user();
  do code_frames.mark(number, user);
  while (!code_frames.is_marked_by(number, user));
  std::span<const u8> before;
  const u64 page = address & ~kPageOffsetMask;
  const auto found = debug_walk(core_.state, core_.memory, GuestVirt(page - kPageSize));
  if (found && core_.memory.is_ram(found->physical.page_base(), kPageSize)) {
    before = {core_.memory.host(found->physical.page_base()), kPageSize};
  }
  const bool is_runnable = !has_sensitive_code(
      {.before = before, .page = {core_.memory.host(frame), kPageSize}, .entry = address & kPageOffsetMask});
  verdicts_[number] = is_runnable;
  return is_runnable;
}

Result<void> DirectSpace::start(StubFactory& factory, HostPlace& place) {
  stub_ = TRY(StubProcess::create(factory, core_.memory, place));
  pages = {};
  ++statistics_.starts;
  return {};
}

void DirectSpace::restart(u16 pcid, u64 cr3) {
  pcid_ = pcid;
  cr3_ = cr3;
  awaited_ = 0;
  pages.flush_all();
  policy.restart();
}

// Whoever kicks it may still be about to.
void DirectSpace::give_up() {
  lost_.push_back(std::move(stub_));
  pages = {};
}

DirectSpace::Outcome DirectSpace::run() {
  if (awaited_ != 0) map_around(std::exchange(awaited_, 0));
  for (;;) {
    if (!stub_->do_calls(pages.take_calls()) || !put_context(*stub_, core_.state)) return Outcome::kLost;
    const Policy::Time start = Policy::Clock::now();
    const bool is_alive = stub_->resume();
    const Policy::Duration away = Policy::Clock::now() - start;
    policy.note_round(away);
    ++statistics_.rounds;
    statistics_.nanoseconds += static_cast<u64>(away.count());
    const StopReport report = is_alive ? take_context(*stub_, core_.state) : StopReport{};
    if (report.stop != Stop::kLost && !take_selectors(report)) return Outcome::kFault;
    switch (report.stop) {
      case Stop::kKick:
        ++statistics_.kicks;
        return Outcome::kAttention;
      case Stop::kPageFault:
        ++statistics_.page_faults;
        if (mend(report)) break;
        if (is_unrunnable_) return Outcome::kTranslate;
        policy.note_event(Policy::Clock::now());
        return Outcome::kInterpret;
      case Stop::kDebugTrap:
        core_.state.pending_debug |= x86::kDr6Bs;
        return Outcome::kAttention;
      case Stop::kTrap:
        step_back();
        [[fallthrough]];
      case Stop::kInstruction:
        ++statistics_.instructions;
        policy.note_event(Policy::Clock::now());
        return Outcome::kInterpret;
      case Stop::kLost:
        return Outcome::kLost;
    }
  }
}

// What guest code loaded came from the host's descriptor tables; the guest's decide. False: with a fault.
bool DirectSpace::take_selectors(const StopReport& report) {
  constexpr unsigned kData[] = {x86::kDs, x86::kEs, x86::kFs, x86::kGs};
  const bool is_plain = report.code_selector == kUserCode;
  if (is_plain && report.data_selectors == std::array<u16, 4>{}) return true;
  for (unsigned i = 0; i < 4; ++i) {
    if (report.data_selectors[i] == 0) continue;
    const u64 base = core_.state.segments[kData[i]].base;
    if (!core_.load_segment(kData[i], report.data_selectors[i])) return false;
    if (base != 0) core_.state.segments[kData[i]].base = base;  // WRFSBASE came later
  }
  const u64 rip = core_.state.rip;
  if (!is_plain && !core_.far_jump(report.code_selector, rip, 8, rip)) return false;
  core_.update_mode();
  return true;
}

// RIP to the trapping instruction: INT3, INT 3 or INT1. Some hosts report the last as a fault.
void DirectSpace::step_back() {
  u8 bytes[2] = {};
  for (u64 i = 0; i < 2; ++i) {
    const auto found = debug_walk(core_.state, core_.memory, GuestVirt(core_.state.rip - 2 + i));
    if (found) core_.memory.read(found->physical, {&bytes[i], 1});
  }
  if (bytes[1] == 0xcc || bytes[1] == 0xf1) {
    core_.state.rip -= 1;
  } else if (bytes[0] == 0xcd && bytes[1] == 0x03) {
    core_.state.rip -= 2;
  }
}

// Maps what the guest's tables allow. False: the interpreter finds out what is wrong, or the page's code
// must not run directly.
bool DirectSpace::mend(const StopReport& report) {
  is_unrunnable_ = false;
  const u64 address = report.address & ~kPageOffsetMask;
  if (!is_guest_address(address)) return false;
  awaited_ = address;
  const bool is_again = std::exchange(last_fault_, address) == address;
  const PageMap::Page known = pages.find(address);
  const bool is_write = (report.error_code & x86::kPfWrite) != 0;
  const bool is_fetch = (report.error_code & x86::kPfFetch) != 0;
  const u8 needed = is_fetch ? PROT_EXEC : is_write ? PROT_WRITE : PROT_READ;
  // The host would not map it.
  if (is_again && (known.protection & needed) != 0) return false;
  if (pages.size() > kMostPages) pages.flush_all();
  if (!(is_fetch ? enter_code(address) : enter_data(address, is_write))) return false;
  awaited_ = 0;
  return true;
}

// Neighbours that the guest has used: their accessed bits are set, and for writes the dirty bits.
void DirectSpace::map_around(u64 address) {
  const u64 start = address & ~(kAround * kPageSize - 1);
  for (u64 page = start; page < start + kAround * kPageSize && pages.has_room(); page += kPageSize) {
    const PageMap::Page known = pages.find(page);
    if (!is_guest_address(page) || (known.protection & (PROT_WRITE | PROT_EXEC)) != 0) continue;
    const auto found = debug_walk(core_.state, core_.memory, GuestVirt(page));
    if (!found || !found->is_user || !found->is_accessed || found->page_size != kPageSize) continue;
    const GuestPhys frame = found->physical.page_base();
    if (!core_.memory.is_ram(frame, kPageSize)) continue;
    u8 protection = PROT_READ;
    if (found->is_executable && !found->is_writable) {
      if (scanned_.is_runnable(page, frame)) protection = kReadCode;
    } else {
      protection = protection_of(page, frame, found->is_writable && found->is_dirty);
    }
    if (protection == known.protection) continue;
    map(page, frame, protection, false);
    if (protection == kReadCode) policy.note_code(1);
  }
}

bool DirectSpace::enter_code(u64 address) {
  const Translation translation = core_.mmu.walk(GuestVirt(address), Access::kFetch, kUser);
  if (!translation.is_valid) return false;
  const GuestPhys frame = translation.physical.page_base();
  if (!core_.memory.is_ram(frame, kPageSize)) return false;
  // An instruction may reach into the page from the one before.
  const u64 rip = core_.state.rip;
  const u64 entry = (rip ^ address) >> kPageShift == 0 ? rip : address;
  if (!scanned_.is_runnable(entry, frame)) {
    is_unrunnable_ = true;
    return false;
  }
  map(address, frame, kReadCode, translation.page_size > kPageSize);
  policy.note_code(1);
  map_around(address);
  return true;
}

bool DirectSpace::enter_data(u64 address, bool is_write) {
  const Translation translation =
      core_.mmu.fill(GuestVirt(address), is_write ? Access::kWrite : Access::kRead, kUser);
  if (!translation.is_valid) return false;
  const TlbTable& table = core_.mmu.table(kUser);
  if ((is_write ? table.write : table.read).find(address, 1) == nullptr) return false;
  if (translation.page_size >= kLargePage) {
    map_large(address, translation);
  } else {
    const GuestPhys frame = translation.physical.page_base();
    map(address, frame, protection_of(address, frame, translation.is_writable), false);
    map_around(address);
  }
  return true;
}

// Never for writes and fetches at once: frames with code grant no writes.
u8 DirectSpace::protection_of(u64 address, GuestPhys frame, bool is_writable) const {
  const PageMap::Page known = pages.find(address);
  const bool was_code = known.frame == frame.page_number() && (known.protection & PROT_EXEC) != 0;
  if (was_code) return kReadCode;
  const bool writes =
      is_writable && core_.memory.code_frames().grant_write(frame.page_number(), core_.mmu.code_user());
  return writes ? PROT_READ | PROT_WRITE : PROT_READ;
}

// The page itself first: how much more fits depends on how alike its neighbours are.
void DirectSpace::map_large(u64 address, const Translation& translation) {
  const u64 start = address & ~(kLargePage - 1);
  const GuestPhys frame = translation.physical.page_base();
  const GuestPhys first(frame.value() - (address - start));
  map(address, frame, protection_of(address, frame, translation.is_writable), true);
  if (!is_guest_address(start) || !is_guest_address(start + kLargePage - kPageSize)) return;
  if (!core_.memory.is_ram(first, kLargePage)) return;
  for (u64 offset = 0; offset < kLargePage && pages.has_room(); offset += kPageSize) {
    const u8 protection = protection_of(start + offset, first + offset, translation.is_writable);
    map(start + offset, first + offset, protection, true);
  }
}

void DirectSpace::map(u64 address, GuestPhys frame, u8 protection, bool is_large) {
  ++statistics_.mapped_pages;
  pages.enter(address, {static_cast<u32>(frame.page_number()), protection},
              {core_.memory.memfd(), core_.memory.file_offset(frame)}, is_large);
}

}  // namespace doppel::direct
