// Looking at vCPUs, and adding up what was seen.
#include "machine/engine_profiler.h"

#include <ucontext.h>
#include <csignal>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "base/verify.h"
#include "x86/registers.h"

namespace doppel {
namespace {

// Of its own, so that no other use of signals comes into its way.
constexpr int kSignal = SIGPROF;
constexpr u64 kPlaceBytes = 64;  // what is counted together where no function is known

GuestPlace place_of(const CpuState& state) {
  const bool is_protected = (state.cr0 & x86::kCr0Pe) != 0;
  const u64 base = (state.efer & x86::kEferLma) != 0 ? 0 : state.segments[x86::kCs].base;
  return {.rip = base + state.rip,
          .is_user = is_protected && (state.segments[x86::kCs].selector & 3) == 3,
          .doing = GuestPlace::Doing::kInterpreting};
}

}  // namespace

void EngineProfiler::Ring::put(const GuestPlace& place) {
  const u32 at = written.load(std::memory_order_relaxed);
  if (at - read.load(std::memory_order_acquire) == kRingEntries) {
    lost.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  places[at % kRingEntries] = place;
  written.store(at + 1, std::memory_order_release);
}

EngineProfiler::EngineProfiler(unsigned cpus) {
  for (unsigned i = 0; i < cpus; ++i) slots_.push_back(std::make_unique<Slot>());
  struct sigaction action = {};
  action.sa_sigaction = &EngineProfiler::on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  VERIFY(::sigaction(kSignal, &action, nullptr) == 0);
  thread_ = std::thread([this] { run(); });
}

EngineProfiler::~EngineProfiler() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  wake_.notify_one();
  thread_.join();  // a signal to this thread that is still under way arrives during this
}

// On the thread of a vCPU that was inside run() when the signal was sent, and may have left since.
void EngineProfiler::on_signal(int, siginfo_t* info, void* context) {
  if (info->si_code != SI_QUEUE) return;  // somebody else's kill
  Slot& slot = *static_cast<Slot*>(info->si_value.sival_ptr);
  const GuestLocator* locator = slot.locator.load(std::memory_order_acquire);
  if (locator == nullptr) return;
  const auto pc = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  slot.ring.put(locator->locate(static_cast<u64>(pc)));
}

void EngineProfiler::enter(unsigned cpu, Vcpu& engine) {
  Slot& slot = *slots_[cpu];
  const std::lock_guard lock(slot.mutex);
  slot.engine = &engine;
  slot.thread = ::pthread_self();
  slot.locator.store(engine.locator(), std::memory_order_release);
}

void EngineProfiler::leave(unsigned cpu, Vcpu& engine) {
  Slot& slot = *slots_[cpu];
  {
    const std::lock_guard lock(slot.mutex);
    slot.engine = nullptr;
    slot.locator.store(nullptr, std::memory_order_release);
  }
  if (!slot.wants_place.load(std::memory_order_relaxed) || !slot.wants_place.exchange(false)) return;
  CpuState state;
  engine.save(state);
  slot.ring.put(place_of(state));
}

void EngineProfiler::run() {
  constexpr auto kPeriod = std::chrono::nanoseconds(1'000'000'000 / kPerSecond);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kPeriod, [this] { return is_ending_; })) {
    for (const std::unique_ptr<Slot>& slot : slots_) {
      look(*slot);
      collect(*slot);
    }
  }
}

void EngineProfiler::look(Slot& slot) {
  const std::lock_guard lock(slot.mutex);
  if (slot.engine == nullptr) return;
  if (slot.locator.load(std::memory_order_relaxed) != nullptr) {
    ::pthread_sigqueue(slot.thread, kSignal, {.sival_ptr = &slot});
    return;
  }
  slot.wants_place.store(true, std::memory_order_relaxed);
  slot.engine->kick();
}

void EngineProfiler::collect(Slot& slot) {
  Ring& ring = slot.ring;
  const u32 end = ring.written.load(std::memory_order_acquire);
  for (u32 at = ring.read.load(std::memory_order_relaxed); at != end; ++at) {
    GuestPlace place = ring.places[at % kRingEntries];
    const auto doing = static_cast<unsigned>(place.doing);
    if (places_.size() >= kMaxPlaces && !places_.contains(place)) place.rip = 0;
    ++places_[place][doing];
  }
  ring.read.store(end, std::memory_order_release);
}

std::vector<EngineProfiler::Row> EngineProfiler::rows(const SymbolTable& symbols) {
  std::map<std::pair<std::string, bool>, Counts> by_name;
  for (const auto& [place, counts] : places_) {
    const auto found = symbols.find(place.rip);
    std::string name = found ? std::string(found->name)
                             : fmt::format("{:#x}+{}", place.rip & ~(kPlaceBytes - 1), kPlaceBytes);
    Counts& sum = by_name[{std::move(name), place.is_user}];
    for (unsigned i = 0; i < kDoings; ++i) sum[i] += counts[i];
  }
  std::vector<Row> rows;
  for (const auto& [key, counts] : by_name) {
    rows.push_back({key.first, key.second, counts, std::accumulate(counts.begin(), counts.end(), u64{0})});
  }
  std::ranges::sort(
      rows, [](const Row& a, const Row& b) { return a.sum != b.sum ? a.sum > b.sum : a.name < b.name; });
  return rows;
}

std::string EngineProfiler::text(const SymbolTable& symbols) {
  const std::lock_guard lock(mutex_);
  u64 lost = 0;
  for (const std::unique_ptr<Slot>& slot : slots_) {
    collect(*slot);
    lost += slot->ring.lost.load(std::memory_order_relaxed);
  }
  const std::vector<Row> all = rows(symbols);
  u64 total = 0;
  for (const Row& row : all) total += row.sum;
  std::string out = fmt::format("# {} samples, {} lost; at most {} a second for each CPU that executes\n",
                                total, lost, kPerSecond);
  out += fmt::format("#{:>7} {:>9} {:>10} {:>8} {:>11}  {:<6}  function\n", "share", "samples", "translated",
                     "helping", "interpreted", "mode");
  for (const Row& row : all) {
    const double share = 100.0 * static_cast<double>(row.sum) / static_cast<double>(total);
    out += fmt::format("{:7.2f}% {:>9} {:>10} {:>8} {:>11}  {:<6}  {}\n", share, row.sum, row.counts[0],
                       row.counts[1], row.counts[2], row.is_user ? "user" : "kernel", row.name);
  }
  return out;
}

}  // namespace doppel
