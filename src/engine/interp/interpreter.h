// Interpreter: the reference engine. Runs traces of decoded instructions, each by a specialised handler.
#pragma once

#include <atomic>
#include <memory>

#include "base/result.h"
#include "cpu/core.h"
#include "cpu/instruction_reference.h"
#include "cpu/translated_code.h"
#include "cpu/vcpu.h"
#include "engine/interp/borrowed.h"
#include "engine/interp/debug_stops.h"
#include "engine/interp/op.h"
#include "engine/interp/trace.h"
#include "x86/msr.h"

namespace doppel {

struct InterpreterConfig {
  GuestMemory& memory;
  CpuPlatform& platform;
  const x86::CpuidTable& cpuid;
  u32 apic_id = 0;
};

// With `translated`, 64-bit code runs there as far as it can: a different engine with the same rules.
Result<std::unique_ptr<Vcpu>> create_interpreter(const InterpreterConfig& config,
                                                 std::unique_ptr<TranslatedCode> translated = nullptr);

// An interpreter that only says what another vCPU's instructions do.
Result<std::unique_ptr<InstructionReference>> create_interpreter_reference(const InterpreterConfig& config);

}  // namespace doppel

namespace doppel::interp {

// Classes of instructions that control registers enable. SDM 1 10.5, 13.1.
enum VectorGate : u8 {
  kGateSse = 1,  // CR4.OSFXSR set, CR0.EM and CR0.TS clear
  kGateAvx = 2,  // CR4.OSXSAVE and XCR0's SSE and AVX bits set, CR0.TS clear, protected mode
};

struct Statistics {
  u64 lookups = 0;  // entries through the dispatcher
  u64 interrupts = 0;
  u64 exceptions = 0;
  u64 links = 0;     // branches that lead straight to their trace from now on
  u64 tlb_hits = 0;  // estimated: see Interpreter::sample
  // What instructions_retired() and the TLB's misses were at the last sample.
  u64 sampled_instructions = 0;
  u64 sampled_misses = 0;
};

// One vCPU. Core comes first so that registers have short displacements from the handlers' first argument;
// the members under "used by handlers" are touched by handlers directly. Used on the vCPU's thread, except
// where said.
class Interpreter final : public Core {
 public:
  Interpreter(const InterpreterConfig& config, BorrowedCode borrowed_code,
              std::unique_ptr<TranslatedCode> translated_code);
  ~Interpreter();

  // As in Vcpu; kick() and the notify functions from any thread.
  Exit run(RunLimit limit);
  u64 instructions_retired() const;
  void kick();
  void notify_interrupt();
  void notify_nmi();
  void end_halt() {
    if (state.activity == Activity::kHalted) state.activity = Activity::kRunning;
  }
  void load(const CpuState& in);
  void set_debug(const DebugControl& control);

  // As a reference, which has an observer: see InstructionReference::execute().
  u64 execute(u64 instructions);

  // --- Used by handlers
  const TlbTable* tlb =
      nullptr;     // of the current access mode; an always-empty table when accesses need checks
  i64 budget = 0;  // instructions left; charged for a whole trace on entry
  std::atomic<i64> attention = 0;  // negative: leave at the next trace boundary, or behind an access
  u32 vector_gate = 0;             // VectorGate bits: which vector instructions may execute now
  u64 link_epoch = 0;              // code epoch of the half of the address space RIP is in, and kind of code
  Link* link_slot = nullptr;       // direct branch to be resolved by the dispatcher
  Trace* dead_trace = nullptr;     // entered after its code changed; to be forwarded
  u64 seen_invalidations = 0;      // TraceCache::invalidations() when the running trace was entered
  u32 remaining_in_trace = 0;      // while a trace is suspended in a call-out: instructions not retired yet

  // Found by virtual address for indirect branches; filled by the dispatcher.
  struct JumpEntry {
    u64 rip = 0;
    u64 epoch = 0;
    Trace* trace = nullptr;
  };
  static constexpr unsigned kJumpEntries = 16384;
  std::array<JumpEntry, kJumpEntries> jump_cache;
  static unsigned jump_index(u64 rip) {
    return static_cast<unsigned>((rip ^ rip >> 12) & (kJumpEntries - 1));
  }

  bool trace_was_invalidated() const { return traces.invalidations() != seen_invalidations; }

  // Is the page behind the one of `rip` still where a page-crossing trace found its tail?
  bool second_page_matches(const Trace& trace, u64 rip);

  x86::CpuidResult query_cpuid(u32 leaf, u32 subleaf) const {
    // Only leaf 1 shows the enable bit of IA32_APIC_BASE. SDM 3A 10.4.3.
    const bool has_apic = leaf != 1 || (platform.read_msr(x86::kMsrApicBase).value_or(x86::kApicBaseEnable) &
                                        x86::kApicBaseEnable) != 0;
    return cpuid.query(
        leaf, subleaf,
        {.apic_id = apic_id_, .cr4 = state.cr4, .xcr0 = state.xcr0, .is_apic_enabled = has_apic});
  }

  // The privilege, address space or segment state changed: recompute what handlers look at.
  void refresh();
  // RFLAGS.IF went from 0 to 1: must the dispatcher look before the instruction after next?
  bool may_have_interrupt() const { return interrupt_hint_.load(std::memory_order_relaxed); }

  u32 pauses = 0;              // PAUSE instructions executed
  bool suppress_step = false;  // the instruction delivered an event itself: no single-step trap
  bool is_repeating = false;   // a string instruction stopped between iterations
  // A trap can follow any iteration of a string instruction: single-stepping, or breakpoints are armed.
  bool stops_after_each_repetition() const {
    return (state.rflags & x86::kFlagTf) != 0 || (state.dr7 & 0xff) != 0 ||
           (debug != nullptr && debug->is_single());
  }

  // Runs 64-bit code while no debug facility is in use; null: nothing does.
  std::unique_ptr<TranslatedCode> translated;

  // What a debugger asked for; null while there is none.
  std::unique_ptr<DebugStops> debug;
  // Is there a breakpoint at `rip`, where a trace is about to be entered that `charged` instructions were
  // charged for?
  bool stops_at(u64 rip, unsigned charged);

  TraceCache traces;
  BorrowedCode borrowed;
  bool wants_flush = false;  // borrowed is full: drop all traces and stubs at the next safe point
  // The stub for an instruction, or nullptr when it cannot run borrowed (now).
  const BorrowedStub* borrow(const ZydisDecodedInstruction& instruction,
                             std::span<const ZydisDecodedOperand> operands, const u8* bytes);
  Statistics statistics;

 private:
  friend class TraceBuilder;
  static constexpr i64 kAttention = i64{-1} << 62;

  // What this vCPU is to the others; a base class with virtual functions would move Core.
  struct FrameUser final : CodeFrameUser {
    explicit FrameUser(Interpreter& interpreter) : s(interpreter) {}
    void code_written(u64 frame, u64 start, u64 size) override;
    void revoke_writes(u64 frame) override;
    void everything_written() override;
    void interrupt() override;
    Interpreter& s;
  };

  enum class Poll { kContinue, kExit };
  Exit run_until(RunLimit limit);
  Poll poll(Exit& exit);
  void poll_events();
  bool is_translatable() const;
  void interpret_one();
  void request_attention();
  void run_trace(const Trace& trace);
  void sample(const Trace& trace);
  void run_single(const Trace& trace);
  void begin_debugged_run();
  void run_debugged(const Trace& trace, bool is_single);
  Trace* lookup(bool is_single);
  Trace* find_or_build(bool is_single);
  bool check_instruction_breakpoint();
  void deliver_fault();

  FrameUser frame_user_{*this};
  std::atomic<bool> kicked_ = false;
  std::atomic<bool> mail_hint_ = false;       // memory.code_frames() has something to handle
  std::atomic<bool> interrupt_hint_ = false;  // has_interrupt() should be asked
  std::atomic<bool> nmi_hint_ = false;
  u32 apic_id_ = 0;
  u8 code_size_ = 0;  // of the current code segment, as in TraceKey
  bool is_real_code_ = false;
  i64 budget_at_entry_ = 0;  // what `budget` was when instructions_retired in the state was right
};

}  // namespace doppel::interp
