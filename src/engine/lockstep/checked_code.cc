// Executing each block twice: by the reference, with memory put back, and as translated code.
#include "engine/lockstep/checked_code.h"

#include <cstring>

#include "base/verify.h"
#include "engine/lockstep/report.h"
#include "engine/lockstep/touched_memory.h"
#include "engine/lockstep/writable_pages.h"

namespace doppel {
namespace lockstep {
namespace {

constexpr unsigned kMostBytes = 64;         // of memory in a report
constexpr u64 kBlocksBetweenSweeps = 4093;  // see WritablePages

constexpr MetricKind kChecks{"engine_checks", "What was compared of translated code."};

struct Counts {
  u64 blocks = 0;
  u64 instructions = 0;
  u64 repeated = 0;   // blocks of which translated code executed another part than the interpreter at first
  u64 unchecked = 0;  // parts of blocks that the interpreter could not do again
};

// Everything but padding, which both copy alike: a difference is looked at again by name.
bool is_same(const CpuState& left, const CpuState& right) {
  return std::memcmp(static_cast<const void*>(&left), static_cast<const void*>(&right), sizeof(CpuState)) ==
         0;
}

class CheckedCode final : public TranslatedCode {
 public:
  CheckedCode(std::unique_ptr<TranslatedCode> code, std::unique_ptr<InstructionReference> reference,
              const CheckConfig& config)
      : code_(std::move(code)), reference_(std::move(reference)), config_(config) {
    VERIFY(code_->counts_instructions());
  }

  void attach(Core& core, const std::atomic<i64>& attention, const std::atomic<bool>& pending) override {
    core_ = &core;
    attention_ = &attention;
    code_->attach(core, attention, pending);
    touched_ = std::make_unique<TouchedMemory>(core.memory);
    reference_->follow(core, *touched_);
  }
  Outcome run(i64& budget) override;
  NextBlock next_block() override { return code_->next_block(); }
  bool counts_instructions() const override { return true; }
  void attention() override { code_->attention(); }
  bool code_written(GuestPhys address, u64 size) override { return code_->code_written(address, size); }
  bool holds(u64 frame) const override { return code_->holds(frame); }
  void forget_all() override { code_->forget_all(); }
  GuestPlace locate(u64 host_pc) const override { return code_->locate(host_pc); }
  std::vector<std::pair<std::string_view, u64>> statistics() const override;
  void add_metrics(MetricList& list) const override;

 private:
  Outcome run_blocks(i64& budget);
  u64 interpret(u64 instructions);
  void expect(u64 instructions);
  void check(u64 executed, u64 instructions);
  void look_again(u64 executed, u64 instructions);
  void look_for_strays(u64 executed, u64 instructions);
  void report(Mismatch mismatch);
  std::string why_not_reached(u64 reached) const;
  bool could_not_follow() const;

  std::unique_ptr<TranslatedCode> code_;
  std::unique_ptr<InstructionReference> reference_;
  CheckConfig config_;
  Core* core_ = nullptr;
  const std::atomic<i64>* attention_ = nullptr;
  std::unique_ptr<TouchedMemory> touched_;
  WritablePages writable_;
  bool is_sweep_ = false;
  CpuState before_;
  bool is_in_step_ = false;  // the reference's state is the vCPU's
  u64 reached_ = 0;          // instructions that the interpreter did
  bool has_failed_ = false;
  Counts counts_;
};

// The reference may have to mark frames of code, and must not wait for this vCPU to take notice.
TranslatedCode::Outcome CheckedCode::run(i64& budget) {
  CodeFrames& code_frames = core_->memory.code_frames();
  code_frames.leave(core_->mmu.code_user());
  is_in_step_ = false;
  const Outcome outcome = run_blocks(budget);
  code_frames.enter(core_->mmu.code_user());
  return outcome;
}

TranslatedCode::Outcome CheckedCode::run_blocks(i64& budget) {
  while (!has_failed_ && attention_->load(std::memory_order_relaxed) == 0) {
    const NextBlock block = code_->next_block();
    if (block.executed == 0) return Outcome::kInterpret;
    if (static_cast<i64>(block.charged) > budget) return Outcome::kBudget;
    expect(block.executed);
    i64 left = static_cast<i64>(block.charged);
    const Outcome outcome = code_->run(left);
    const u64 executed = block.charged - static_cast<u64>(left);
    budget -= static_cast<i64>(executed);
    check(executed, block.executed);
    // The budget was this block's, unless nothing of it could be executed.
    if (outcome != Outcome::kBudget || executed == 0) return has_failed_ ? Outcome::kAttention : outcome;
  }
  return Outcome::kAttention;
}

// By the reference, from its state on. Then this vCPU takes notice of what frames of code it marked.
u64 CheckedCode::interpret(u64 instructions) {
  const u64 done = reference_->execute(instructions);
  core_->memory.code_frames().handle_mail(core_->mmu.code_user());
  return done;
}

void CheckedCode::expect(u64 instructions) {
  before_ = core_->state;
  if (!is_in_step_) reference_->state() = before_;
  touched_->begin();
  reached_ = interpret(instructions);
  touched_->set_aside();
  is_sweep_ = ++counts_.blocks % kBlocksBetweenSweeps == 0;
  if (is_sweep_) writable_.remember(*core_);
}

void CheckedCode::check(u64 executed, u64 instructions) {
  counts_.instructions += executed;
  if (is_sweep_) look_for_strays(executed, instructions);
  const bool is_whole = executed == instructions && reached_ == instructions;
  is_in_step_ = is_whole && is_same(core_->state, reference_->state());
  if (is_in_step_ && touched_->is_as_expected()) return;
  is_in_step_ = false;
  look_again(executed, instructions);
}

// Translated code did less, which the interpreter does again then, or something is different.
void CheckedCode::look_again(u64 executed, u64 instructions) {
  ++counts_.repeated;
  touched_->rewind();
  u64 reached = reached_;
  if (executed != instructions || reached_ != instructions) {
    reference_->state() = before_;
    reached = interpret(executed);
    touched_->set_aside();
  }
  const CpuState& state = core_->state;
  // Who looks for the next block walks to its page, and to the one behind it.
  reference_->walk_code(state.rip);
  reference_->walk_code(state.rip + kPageSize);
  touched_->bring_back();
  // RF goes when an instruction is about to be executed, by whoever executes it.
  if (executed == 0) reference_->state().rflags &= ~x86::kFlagRf | state.rflags;
  if (reached != executed && could_not_follow()) {
    ++counts_.unchecked;
    return;
  }
  if (reached == executed && is_same(state, reference_->state()) && touched_->differences(1).empty()) return;
  report({.executed = executed,
          .instructions = instructions,
          .why = reached == executed ? std::string() : why_not_reached(reached),
          .registers = register_differences(state, reference_->state()),
          .memory = touched_->differences(kMostBytes)});
}

void CheckedCode::look_for_strays(u64 executed, u64 instructions) {
  std::vector<ByteDifference> strays = writable_.strays(*touched_, kMostBytes);
  if (strays.empty()) return;
  report({.executed = executed,
          .instructions = instructions,
          .why = "The interpreter touches nothing near what translated code wrote.",
          .memory = std::move(strays)});
}

void CheckedCode::report(Mismatch mismatch) {
  if (has_failed_ || (mismatch.why.empty() && mismatch.registers.empty() && mismatch.memory.empty())) return;
  mismatch.cpu = config_.cpu;
  mismatch.block = counts_.blocks;
  mismatch.rip = before_.rip;
  has_failed_ = true;
  config_.on_mismatch(report_of(mismatch, *core_));
}

// Code that reaches devices, or more memory than is kept, is nothing to compare.
bool CheckedCode::could_not_follow() const {
  return touched_->refusal() == TouchedMemory::Refusal::kDevice ||
         touched_->refusal() == TouchedMemory::Refusal::kTooMuch;
}

std::string CheckedCode::why_not_reached(u64 reached) const {
  std::string why = "it writes a frame of code directly";
  if (const std::optional<Fault> fault = reference_->fault()) {
    why = fmt::format("exception {} with error code {:#x}, CR2 {:#x}", fault->vector, fault->error_code,
                      reference_->state().cr2);
  }
  return fmt::format("The interpreter does not get beyond instruction {}: {}.", reached + 1, why);
}

std::vector<std::pair<std::string_view, u64>> CheckedCode::statistics() const {
  std::vector<std::pair<std::string_view, u64>> all = code_->statistics();
  all.emplace_back("checked_blocks", counts_.blocks);
  all.emplace_back("checked_instructions", counts_.instructions);
  all.emplace_back("check_repeated", counts_.repeated);
  all.emplace_back("check_skipped", counts_.unchecked);
  return all;
}

void CheckedCode::add_metrics(MetricList& list) const {
  code_->add_metrics(list);
  list.add(kChecks, counts_.blocks, {{"compared", "block"}});
  list.add(kChecks, counts_.instructions, {{"compared", "instruction"}});
  list.add(kChecks, counts_.repeated, {{"compared", "block in part, interpreted twice"}});
  list.add(kChecks, counts_.unchecked, {{"compared", "not: the interpreter cannot do it again"}});
}

}  // namespace
}  // namespace lockstep

std::unique_ptr<TranslatedCode> check_translated_code(std::unique_ptr<TranslatedCode> code,
                                                      std::unique_ptr<InstructionReference> reference,
                                                      const CheckConfig& config) {
  return std::make_unique<lockstep::CheckedCode>(std::move(code), std::move(reference), config);
}

}  // namespace doppel
