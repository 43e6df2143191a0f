// Choosing between translated code and direct execution, and keeping stub processes in step with the paging
// unit.
#include "engine/direct/direct_code.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "cpu/core.h"
#include "engine/direct/direct_space.h"

namespace doppel::direct {
namespace {

class DirectCode final : public TranslatedCode, public TlbListener {
 public:
  DirectCode(std::unique_ptr<TranslatedCode> translated, StubFactory& factory, bool is_always)
      : translated_(std::move(translated)), factory_(factory), is_always_(is_always) {}

  void attach(Core& core, const std::atomic<i64>& attention, const std::atomic<bool>& pending) override {
    core_ = &core;
    attention_ = &attention;
    pending_ = &pending;
    scanned_.emplace(core);
    core.mmu.add_listener(this);
    translated_->attach(core, attention, pending);
  }
  Outcome run(i64& budget) override;
  void rest() override { place_.scatter(); }
  bool counts_instructions() const override { return translated_->counts_instructions(); }
  void attention() override {
    translated_->attention();
    StubProcess* running = running_.load(std::memory_order_seq_cst);
    if (running != nullptr) running->kick();
  }
  bool code_written(GuestPhys address, u64 size) override;
  bool holds(u64 frame) const override { return scanned_->holds(frame) || translated_->holds(frame); }
  void forget_all() override;
  NextBlock next_block() override { return translated_->next_block(); }
  std::vector<std::pair<std::string_view, u64>> statistics() const override;
  void add_metrics(MetricList& list) const override { translated_->add_metrics(list); }
  GuestPlace locate(u64 host_pc) const override { return translated_->locate(host_pc); }

  void flush_page(GuestVirt address) override {
    each_space([&](DirectSpace& space) { space.pages.flush_page(address.value()); });
  }
  void flush_context(u16 pcid) override {
    each_space([&](DirectSpace& space) {
      if (space.pcid() == pcid) space.pages.flush_all();
    });
  }
  void flush_all() override {
    each_space([](DirectSpace& space) { space.pages.flush_all(); });
  }
  void protect_frame(GuestPhys frame) override {
    each_space([&](DirectSpace& space) { space.pages.protect_frame(static_cast<u32>(frame.page_number())); });
  }
  void protect_all_frames() override {
    each_space([](DirectSpace& space) { space.pages.protect_all(); });
  }

 private:
  static constexpr unsigned kMostSpaces = 8;
  static constexpr u64 kMostLost = 64;  // then no more: each is kept
  // How long the thread stays on its CPU of the host in case that user code runs directly again.
  static constexpr std::chrono::milliseconds kHeldLonger{1};

  template <class F>
  void each_space(F f) {
    for (const auto& space : spaces_) {
      if (space) f(*space);
    }
  }
  DirectSpace& space_now();
  bool may_run() const;
  Outcome run_translated(DirectSpace& space, i64& budget);
  DirectSpace::Outcome run_directly(DirectSpace& space);

  std::unique_ptr<TranslatedCode> translated_;
  StubFactory& factory_;
  bool is_always_;
  Core* core_ = nullptr;
  const std::atomic<i64>* attention_ = nullptr;
  const std::atomic<bool>* pending_ = nullptr;
  std::optional<ScannedFrames> scanned_;
  HostPlace place_;
  std::array<std::unique_ptr<DirectSpace>, kMostSpaces> spaces_;
  std::atomic<StubProcess*> running_ = nullptr;
  DirectStatistics statistics_;
  u64 use_clock_ = 0;
  Policy::Time direct_end_;     // when user code ran directly last
  DirectSpace* now_ = nullptr;  // of this CR3
  u64 now_cr3_ = 0;
  u64 translated_page_ = ~u64{0};  // of code that must not run directly and is running translated
  bool was_privileged_ = false;    // since user code ran last
  bool is_refused_ = false;        // the host does not allow it
};

// The one of this address space, or the one that was not used for longest.
DirectSpace& DirectCode::space_now() {
  if (now_ != nullptr && now_cr3_ == core_->state.cr3) return *now_;
  constexpr u64 kBase = 0x000f'ffff'ffff'f000;
  const u64 cr3 = core_->state.cr3 & kBase;
  const u16 pcid = (core_->state.cr4 & x86::kCr4Pcide) != 0 ? core_->state.cr3 & 0xfff : 0;
  std::unique_ptr<DirectSpace>* chosen = &spaces_[0];
  for (auto& space : spaces_) {
    if (space && space->pcid() == pcid) {
      chosen = &space;
      break;
    }
    if (*chosen && (!space || space->last_use < (*chosen)->last_use)) chosen = &space;
  }
  if (!*chosen) *chosen = std::make_unique<DirectSpace>(*core_, *scanned_, statistics_, is_always_);
  DirectSpace& space = **chosen;
  if (space.pcid() != pcid || space.cr3() != cr3) space.restart(pcid, cr3);
  space.last_use = ++use_clock_;
  now_ = &space;
  now_cr3_ = core_->state.cr3;
  return space;
}

// What the host's processor does to user code must be what the guest's would.
bool DirectCode::may_run() const {
  const CpuState& state = core_->state;
  constexpr u64 kFlags = x86::kFlagTf | x86::kFlagAc | x86::kFlagIf | x86::kFlagNt;
  constexpr u64 kControls = x86::kCr4Osfxsr | x86::kCr4Osxsave | x86::kCr4Fsgsbase;
  constexpr u64 kVectors = x86::kXcr0X87 | x86::kXcr0Sse | x86::kXcr0Avx;
  for (const unsigned data : {x86::kDs, x86::kEs, x86::kFs, x86::kGs}) {
    if (state.segments[data].selector != 0) return false;
  }
  return core_->cpl == 3 && (state.rflags & kFlags) == x86::kFlagIf && (state.rflags & x86::kFlagIopl) == 0 &&
         (state.cr0 & (x86::kCr0Ts | x86::kCr0Em | x86::kCr0Pg)) == x86::kCr0Pg &&
         (state.cr4 & kControls) == kControls && (state.cr4 & x86::kCr4La57) == 0 &&
         (state.xcr0 & kVectors) == kVectors && state.segments[x86::kCs].selector == kUserCode &&
         state.segments[x86::kSs].selector == kUserData && core_->data_watch == nullptr;
}

TranslatedCode::Outcome DirectCode::run(i64& budget) {
  if (is_refused_) return translated_->run(budget);
  DirectSpace& space = space_now();
  if (core_->cpl == 3) {
    const bool is_known_page = core_->state.rip >> kPageShift == translated_page_;
    if (space.policy.is_active() && !is_known_page && may_run()) {
      translated_page_ = ~u64{0};
      switch (run_directly(space)) {
        case DirectSpace::Outcome::kAttention:
          return Outcome::kAttention;
        case DirectSpace::Outcome::kInterpret:
          return Outcome::kInterpret;
        case DirectSpace::Outcome::kTranslate:
          translated_page_ = core_->state.rip >> kPageShift;
          break;
        case DirectSpace::Outcome::kLost:
          // What ran has no registers any more. Only a program that attacks its own process gets here.
          core_->deliver({x86::kVectorGp, true, 0}, EventSource::kException, core_->state.rip);
          return Outcome::kAttention;
        case DirectSpace::Outcome::kFault:
          core_->deliver(core_->fault, EventSource::kException, core_->state.rip);
          core_->has_fault = false;
          return Outcome::kAttention;
      }
    }
  }
  return run_translated(space, budget);
}

TranslatedCode::Outcome DirectCode::run_translated(DirectSpace& space, i64& budget) {
  translated_->leave_for_user(space.policy.is_active());
  if (core_->cpl != 3) {
    was_privileged_ = true;
    if (place_.cpu() != HostPlace::kAnywhere && Policy::Clock::now() - direct_end_ > kHeldLonger) {
      place_.scatter();
    }
    return translated_->run(budget);
  }
  const bool is_return = std::exchange(was_privileged_, false);
  const Policy::Time start = Policy::Clock::now();
  if (!space.policy.is_watching(start)) return translated_->run(budget);
  const u64 calls = translated_->system_calls();
  const Outcome outcome = translated_->run(budget);
  if (&space_now() == &space) {
    space.policy.note_stretch({.start = start,
                               .end = Policy::Clock::now(),
                               .calls = translated_->system_calls() - calls,
                               .is_return = is_return});
  }
  return outcome;
}

DirectSpace::Outcome DirectCode::run_directly(DirectSpace& space) {
  if (!space.has_process()) {
    if (const Result<void> started = space.start(factory_, place_); !started) {
      LOG_INFO("{}; user code is translated", started.error().message);
      is_refused_ = true;
      space.policy.stop(Policy::Clock::now());
      return DirectSpace::Outcome::kTranslate;
    }
    space.process()->set_wishes(*attention_, *pending_);
  }
  const Policy::Time start = Policy::Clock::now();
  const u64 ran = statistics_.nanoseconds;
  running_.store(space.process(), std::memory_order_seq_cst);
  DirectSpace::Outcome outcome = DirectSpace::Outcome::kAttention;
  // A pending interrupt, too: user code has interrupts on.
  if (attention_->load(std::memory_order_seq_cst) == 0 && !pending_->load()) outcome = space.run();
  running_.store(nullptr, std::memory_order_seq_cst);
  const Policy::Time stop = Policy::Clock::now();
  direct_end_ = stop;
  space.policy.settle(stop, stop - start - std::chrono::nanoseconds(statistics_.nanoseconds - ran));
  if (!space.policy.is_active()) place_.scatter();
  if (outcome == DirectSpace::Outcome::kLost) {
    LOG_GUEST("a stub process ended by itself at {:#x}", core_->state.rip);
    is_refused_ = ++statistics_.lost == kMostLost;
    space.give_up();
    space.policy.stop(stop);
  }
  return outcome;
}

bool DirectCode::code_written(GuestPhys address, u64 size) {
  const bool is_held = translated_->code_written(address, size);
  const u64 frame = address.page_number();
  if (scanned_->forget(frame)) {
    each_space([&](DirectSpace& space) { space.pages.drop_code(static_cast<u32>(frame)); });
  }
  return is_held;
}

void DirectCode::forget_all() {
  translated_->forget_all();
  scanned_->forget_all();
  flush_all();
}

std::vector<std::pair<std::string_view, u64>> DirectCode::statistics() const {
  auto all = translated_->statistics();
  u64 late = 0;
  for (const auto& space : spaces_)
    late += space && space->has_process() ? space->process()->late_stops() : 0;
  const std::pair<std::string_view, u64> own[] = {{"direct_rounds", statistics_.rounds},
                                                  {"direct_page_faults", statistics_.page_faults},
                                                  {"direct_mapped_pages", statistics_.mapped_pages},
                                                  {"direct_instructions", statistics_.instructions},
                                                  {"direct_kicks", statistics_.kicks},
                                                  {"direct_processes", statistics_.starts},
                                                  {"direct_lost", statistics_.lost},
                                                  {"direct_late_stops", late},
                                                  {"direct_microseconds", statistics_.nanoseconds / 1000}};
  all.insert(all.end(), std::begin(own), std::end(own));
  return all;
}

}  // namespace
}  // namespace doppel::direct

namespace doppel {

std::unique_ptr<TranslatedCode> create_direct_code(std::unique_ptr<TranslatedCode> translated,
                                                   direct::StubFactory& factory, bool is_always) {
  return std::make_unique<direct::DirectCode>(std::move(translated), factory, is_always);
}

}  // namespace doppel
