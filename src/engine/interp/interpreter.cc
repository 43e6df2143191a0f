// The dispatcher: finds traces, enters them, and delivers events between them.
#include "engine/interp/interpreter.h"

#include <algorithm>

#include "base/log.h"
#include "base/verify.h"
#include "cpu/flat_segment.h"
#include "engine/interp/borrowed.h"
#include "engine/interp/handlers.h"
#include "engine/interp/trace_builder.h"

namespace doppel::interp {
namespace {

// Never filled: every access takes the slow path. Used while alignment checks are on.
TlbTable& empty_table() {
  static TlbTable table;
  return table;
}

// Neither a code_epoch() nor the epoch of an unresolved link: links and cached jumps do not match.
constexpr u64 kNoEpoch = ~u64{0};

constexpr u64 kDebugEnables = 0xff;  // DR7 L0..G3

}  // namespace

Interpreter::Interpreter(const InterpreterConfig& config, BorrowedCode borrowed_code,
                         std::unique_ptr<TranslatedCode> translated_code)
    : Core(config.memory, config.platform, config.cpuid),
      translated(std::move(translated_code)),
      traces(config.memory, &enter_dead),
      borrowed(std::move(borrowed_code)),
      apic_id_(config.apic_id) {
  mmu.set_physical_bits(cpuid.physical_address_bits());
  const CodeFrames::UserId user = memory.code_frames().add_user(frame_user_);
  VERIFY(user != CodeFrames::kNobody);
  mmu.set_code_user(user);
  traces.set_user(user);
  if (translated) {
    translated->attach(*this, attention, interrupt_hint_);
    traces.set_other_holder(translated.get());
  }
  state_replaced();
  refresh();
}

Interpreter::~Interpreter() { memory.code_frames().remove_user(mmu.code_user()); }

void Interpreter::FrameUser::code_written(u64 frame, u64 start, u64 size) {
  const GuestPhys address((frame << kPageShift) + start);
  if (s.translated) s.translated->code_written(address, size);
  s.traces.code_written(address, size);
}

void Interpreter::FrameUser::revoke_writes(u64 frame) { s.mmu.protect_frame(GuestPhys(frame << kPageShift)); }

void Interpreter::FrameUser::everything_written() {
  if (s.translated) s.translated->forget_all();
  s.traces.kill_all();
  s.mmu.protect_all_frames();
}

void Interpreter::FrameUser::interrupt() {
  s.mail_hint_.store(true, std::memory_order_relaxed);
  s.request_attention();
}

void Interpreter::request_attention() {
  attention.store(kAttention, std::memory_order_seq_cst);
  if (translated) translated->attention();
}

u64 Interpreter::instructions_retired() const {
  return state.instructions_retired + static_cast<u64>(budget_at_entry_ - budget) - remaining_in_trace;
}

void Interpreter::kick() {
  kicked_.store(true, std::memory_order_relaxed);
  request_attention();
}

void Interpreter::notify_interrupt() {
  interrupt_hint_.store(true, std::memory_order_relaxed);
  request_attention();
}

void Interpreter::notify_nmi() {
  nmi_hint_.store(true, std::memory_order_relaxed);
  request_attention();
}

void Interpreter::load(const CpuState& in) {
  state = in;
  state_replaced();
  interrupt_hint_ = true;
  jump_cache.fill({});
  refresh();
}

void Interpreter::refresh() {
  update_mode();
  const bool checks_alignment =
      cpl == 3 && (state.rflags & x86::kFlagAc) != 0 && (state.cr0 & x86::kCr0Am) != 0;
  tlb = checks_alignment || observer != nullptr ? &empty_table() : &mmu.table(access_mode);
  const Segment& cs = state.segment(x86::kCs);
  code_size_ = is_64bit ? 8 : (cs.is_32bit() ? 4 : 2);
  is_real_code_ = is_real_or_v8086();
  const bool has_ts = (state.cr0 & x86::kCr0Ts) != 0;
  const u64 avx_state = x86::kXcr0Sse | x86::kXcr0Avx;
  vector_gate = 0;
  if (!has_ts && (state.cr0 & x86::kCr0Em) == 0 && (state.cr4 & x86::kCr4Osfxsr) != 0)
    vector_gate |= kGateSse;
  if (!has_ts && (state.cr4 & x86::kCr4Osxsave) != 0 && (state.xcr0 & avx_state) == avx_state &&
      !is_real_or_v8086()) {
    vector_gate |= kGateAvx;
  }
  const bool is_linkable = is_64bit || (cs.base == 0 && cs.limit == 0xffffffff);
  // Links and cached jumps know code by its address alone: an epoch is one of one kind of code.
  const u64 kind = code_size_ | (is_real_code_ ? 1u : 0u);
  link_epoch = is_linkable ? mmu.code_epoch(cpl == 3, state.rip >> 63) << 4 | kind : kNoEpoch;
}

Exit Interpreter::run(RunLimit limit) {
  memory.code_frames().enter(mmu.code_user());
  Exit exit = run_until(limit);
  if (translated) translated->rest();
  memory.code_frames().leave(mmu.code_user());
  return exit;
}

Exit Interpreter::run_until(RunLimit limit) {
  budget = static_cast<i64>(std::min<u64>(limit.instructions, u64{1} << 61));
  budget_at_entry_ = budget;
  // The last run may have ended between a branch and the lookup of its target, and the state is another now.
  link_slot = nullptr;
  dead_trace = nullptr;
  Exit exit{ExitReason::kBudget, {}};
  if (debug != nullptr) begin_debugged_run();
  for (;;) {
    if (debug != nullptr && debug->take_stop(instructions_retired(), exit)) break;
    refresh();
    if (poll(exit) == Poll::kExit) break;
    if (budget <= 0) break;
    if (has_virtual_interrupt()) [[unlikely]] {
      raise(x86::kVectorGp, 0);
      deliver_fault();
      continue;
    }
    // An interrupt may follow what was just delivered, once there was an instruction.
    const bool has_next_event = may_have_interrupt() && (state.rflags & x86::kFlagIf) != 0;
    const bool needs_single = (state.rflags & x86::kFlagTf) != 0 || state.shadow != 0 || has_next_event ||
                              (state.dr7 & kDebugEnables) != 0 || (debug != nullptr && debug->is_single());
    if (!needs_single && is_translatable()) {
      const TranslatedCode::Outcome outcome = translated->run(budget);
      if (outcome != TranslatedCode::Outcome::kAttention && budget > 0) interpret_one();
      continue;
    }
    Trace* trace = lookup(needs_single);
    if (trace != nullptr && trace->count > budget) {
      sample(*trace);
      if (!limit.is_exact) break;
      link_slot = nullptr;
      trace = lookup(true);
    }
    if (trace == nullptr) {
      deliver_fault();
      continue;
    }
    if (debug != nullptr) {
      run_debugged(*trace, needs_single);
    } else if (needs_single) {
      run_single(*trace);
    } else {
      state.rflags &= ~x86::kFlagRf;
      run_trace(*trace);
      if (has_fault) deliver_fault();
    }
  }
  state.instructions_retired += static_cast<u64>(budget_at_entry_ - budget);
  budget_at_entry_ = budget;
  return exit;
}

// The budget runs out inside this trace: a sample that takes every trace as often as the instructions it
// executes. What it does with memory stands for all instructions since the last sample, so that fast paths
// need not count.
void Interpreter::sample(const Trace& trace) {
  const u64 retired = instructions_retired();
  const u64 misses = mmu.statistics().misses();
  const u64 accesses = (retired - statistics.sampled_instructions) * trace.memory_operands / trace.count;
  statistics.tlb_hits += accesses - std::min(accesses, misses - statistics.sampled_misses);
  statistics.sampled_instructions = retired;
  statistics.sampled_misses = misses;
}

// Alignment checks and debuggers look at every access and instruction; the rings between are not used.
bool Interpreter::is_translatable() const {
  return translated != nullptr && (is_64bit || is_flat_32bit(state)) && (cpl == 0 || cpl == 3) &&
         debug == nullptr && tlb != &empty_table();
}

// What translated code left to us: one instruction, or its fault.
void Interpreter::interpret_one() {
  link_slot = nullptr;
  dead_trace = nullptr;
  refresh();
  const Trace* trace = lookup(true);
  if (trace == nullptr) return deliver_fault();
  state.rflags &= ~x86::kFlagRf;
  run_trace(*trace);
  if (has_fault) deliver_fault();
}

void Interpreter::run_trace(const Trace& trace) {
  ++statistics.lookups;
  // A single instruction must not run on into another trace.
  if (trace.key.is_single) link_epoch = kNoEpoch;
  budget -= trace.count;
  seen_invalidations = traces.invalidations();
  trace.ops[0].handler(this, trace.ops, pack_flags(state.rflags), state.rip);
  remaining_in_trace = 0;
  if (trace.key.is_single) link_slot = nullptr;
  if (std::exchange(is_repeating, false)) state.rflags |= x86::kFlagRf;  // SDM 3B 17.3.1.1
}

// One instruction with debug facilities or an interrupt shadow in effect. SDM 3B 17.3.
void Interpreter::run_single(const Trace& trace) {
  const bool has_rf = (state.rflags & x86::kFlagRf) != 0;
  if (!has_rf && check_instruction_breakpoint()) return deliver_fault();
  const bool was_stepping = (state.rflags & x86::kFlagTf) != 0;
  const u8 old_shadow = state.shadow;
  state.shadow = kShadowNone;
  suppress_step = false;
  state.rflags &= ~x86::kFlagRf;
  run_trace(trace);
  if (has_fault) {
    state.shadow = old_shadow;
    return deliver_fault();
  }
  if (wants_flush) {
    // No room for the instruction's stub: it has not been executed, and comes again after the flush.
    state.shadow = old_shadow;
    if (has_rf) state.rflags |= x86::kFlagRf;
    return;
  }
  if (was_stepping && !suppress_step) state.pending_debug |= x86::kDr6Bs;
}

bool Interpreter::check_instruction_breakpoint() {
  const u64 linear = is_64bit ? state.rip : (state.segment(x86::kCs).base + state.rip) & 0xffffffff;
  u64 hits = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const bool is_enabled = bits(state.dr7, 2 * i, 2) != 0;
    const bool is_execute = bits(state.dr7, 16 + 4 * i, 2) == 0;
    if (is_enabled && is_execute && state.dr[i] == linear) hits |= u64{1} << i;
  }
  if (hits == 0 || (state.shadow & kShadowMovSs) != 0) return false;
  state.dr6 = (state.dr6 & ~u64{0xf}) | hits;
  raise(x86::kVectorDb);
  return true;
}

void Interpreter::deliver_fault() {
  ++statistics.exceptions;
  // What the faulting instruction touched before, it will touch again.
  if (data_watch != nullptr) data_watch->take_hit();
  --budget;  // so that a guest that only faults makes progress towards the limit
  LOG_GUEST("exception {} error {:#x} at {:#x} cr2 {:#x}", fault.vector, fault.error_code, state.rip,
            state.cr2);
  link_slot = nullptr;
  dead_trace = nullptr;
  state.shadow = kShadowNone;
  state.pending_debug = 0;  // the traps come when the instruction is done again
  deliver(fault, EventSource::kException, state.rip);
}

Interpreter::Poll Interpreter::poll(Exit& exit) {
  if (attention.load(std::memory_order_relaxed) != 0) attention.exchange(0, std::memory_order_acquire);
  if (mail_hint_.load(std::memory_order_relaxed) && mail_hint_.exchange(false)) {
    memory.code_frames().handle_mail(mmu.code_user());
  }
  if (nmi_hint_.load(std::memory_order_relaxed) && nmi_hint_.exchange(false)) state.nmi_pending = true;
  if (state.activity == Activity::kShutdown) {
    exit = {ExitReason::kShutdown, "triple fault"};
    return Poll::kExit;
  }
  if (kicked_.load(std::memory_order_relaxed) && kicked_.exchange(false)) {
    exit = {ExitReason::kKicked, {}};
    return Poll::kExit;
  }
  if (state.pending_debug != 0 && (state.shadow & kShadowMovSs) == 0) {
    // SDM 3A 6.9: traps of the previous instruction come before interrupts.
    state.dr6 = (state.dr6 & ~u64{0xf}) | state.pending_debug;
    state.pending_debug = 0;
    link_slot = nullptr;
    dead_trace = nullptr;
    deliver({x86::kVectorDb, false, 0}, EventSource::kException, state.rip);
    refresh();
  }
  const bool is_waiting = state.activity == Activity::kHalted || state.activity == Activity::kWaitForSipi;
  const bool holds_events = debug != nullptr && debug->is_stepping() && !is_waiting;
  if (state.activity != Activity::kWaitForSipi && !holds_events) poll_events();
  if (state.activity == Activity::kShutdown) {
    exit = {ExitReason::kShutdown, "triple fault"};
    return Poll::kExit;
  }
  if (is_waiting && state.activity != Activity::kRunning) {
    exit = {ExitReason::kHalted, {}};
    return Poll::kExit;
  }
  return Poll::kContinue;
}

void Interpreter::poll_events() {
  if (state.nmi_pending && !state.nmi_blocked && state.shadow == kShadowNone) {
    state.nmi_pending = false;
    link_slot = nullptr;
    dead_trace = nullptr;
    if (deliver({x86::kVectorNmi, false, 0}, EventSource::kHardware, state.rip)) state.nmi_blocked = true;
    refresh();
    return;
  }
  if (!interrupt_hint_.load(std::memory_order_relaxed)) return;
  if ((state.rflags & x86::kFlagIf) == 0 || state.shadow != kShadowNone) return;
  interrupt_hint_.store(false, std::memory_order_relaxed);
  if (!platform.has_interrupt()) return;
  interrupt_hint_.store(true, std::memory_order_relaxed);
  const std::optional<u8> vector = platform.acknowledge_interrupt();
  if (!vector) return;
  ++statistics.interrupts;
  link_slot = nullptr;
  dead_trace = nullptr;
  deliver({*vector, false, 0}, EventSource::kHardware, state.rip);
  refresh();
}

// The trace at RIP; nullptr after recording a fault.
Trace* Interpreter::lookup(bool is_single) {
  Link* link = std::exchange(link_slot, nullptr);
  Trace* dead = std::exchange(dead_trace, nullptr);
  const u64 rip = state.rip;
  JumpEntry& entry = jump_cache[jump_index(rip)];
  Trace* trace;
  if (wants_flush) {
    wants_flush = false;
    traces.clear();
    borrowed.clear();
    jump_cache.fill({});
    link = nullptr;
    dead = nullptr;
  }
  if (!is_single && entry.rip == rip && entry.epoch == link_epoch && link_epoch != kNoEpoch &&
      !entry.trace->is_dead) {
    trace = entry.trace;
  } else {
    const u64 clears = traces.clears();
    trace = find_or_build(is_single);
    if (trace == nullptr) return nullptr;
    if (traces.clears() != clears) {
      link = nullptr;
      dead = nullptr;
      jump_cache.fill({});
    }
    // What is dead from the start (code in device memory) is fetched again each time.
    if (is_single || link_epoch == kNoEpoch || trace->is_dead) return trace;
    entry = {rip, link_epoch, trace};
  }
  if (is_single) return trace;
  if (link != nullptr) {
    *link = {trace, link_epoch};
    ++statistics.links;
  }
  if (dead != nullptr) dead->forward = trace;
  return trace;
}

Trace* Interpreter::find_or_build(bool is_single) {
  const Segment& cs = state.segment(x86::kCs);
  u64 linear = state.rip;
  u64 limit_bytes = kPageSize;
  if (is_64bit) {
    if (!is_canonical(linear)) return raise(x86::kVectorGp, 0), nullptr;
  } else {
    if (state.rip > cs.limit) return raise(x86::kVectorGp, 0), nullptr;
    linear = (cs.base + state.rip) & 0xffffffff;
    limit_bytes = u64{cs.limit} - state.rip + 1;
    // Near the limit each instruction is checked by itself.
    if (limit_bytes < kPageSize - (linear & kPageOffsetMask)) is_single = true;
  }
  const Translation translation = mmu.translate_code(GuestVirt(linear), cpl == 3);
  if (!translation.is_valid) return raise_page_fault(GuestVirt(linear), translation.error_code), nullptr;
  const TraceKey key{.physical = translation.physical.value(),
                     .code_size = code_size_,
                     .is_single = is_single,
                     .is_protected = !is_real_code_};
  Trace* trace = traces.find(key);
  if (trace == nullptr) trace = TraceBuilder(*this, key, linear, limit_bytes).build();
  if (trace != nullptr && trace->bytes > limit_bytes) return raise(x86::kVectorGp, 0), nullptr;
  return trace;
}

}  // namespace doppel::interp
