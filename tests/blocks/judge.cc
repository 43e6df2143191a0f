// The ways to run a block, and the comparison.
#include "tests/blocks/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tests/differential/coverage.h"
#include "tests/differential/encoder.h"
#include "tests/differential/open_cases.h"
#include "tests/differential/vcpu_backend.h"

namespace doppel::blocks {
namespace {

// Blocks that execute more are not followed instruction by instruction.
constexpr unsigned kMaxBoundaries = 300;

constexpr const char* kWayNames[kWayCount] = {
    "interpreter", "translator", "single", "unlinked", "counted", "flush", "stops", "interrupts", "any-time"};

void compare_memory(const char* name, std::span<const u8> expected, std::span<const u8> got, u64 base,
                    std::vector<std::string>& lines) {
  for (u64 i = 0; i < expected.size(); ++i) {
    if (expected[i] == got[i]) continue;
    lines.push_back(fmt::format("{} {:#x} expected {:#x}  got {:#x}", name, base + i, expected[i], got[i]));
    return;
  }
}

// Which exception an access raises that is wrong in more than one way (not aligned and not canonical, not
// canonical before the segment's base is added) is the processor's own.
bool is_same_refusal(const Outcome& host, const Outcome& guest) {
  constexpr u64 kUpperHalf = u64{1} << 63;
  if (host.vector != x86::kVectorGp || host.error_code != 0 || host.state.rip != guest.state.rip)
    return false;
  return guest.vector == x86::kVectorSs || (guest.vector == x86::kVectorPf && guest.cr2 >= kUpperHalf);
}

// Upper halves and R8 to R15 are not defined for 32-bit code (SDM 1 3.4.1.1); the engines keep them.
void keep_invisible(const UserState& start, UserState& host) {
  for (unsigned reg = 0; reg < 8; ++reg) host.gpr[reg] &= 0xffffffff;
  std::copy(start.gpr.begin() + 8, start.gpr.end(), host.gpr.begin() + 8);
}

// Of a string instruction; of others nothing.
std::vector<u8> string_bytes(const Machine& machine, u64 offset, const Instruction& instruction) {
  if (offset >= kCodeSize || !is_string_operation(instruction)) return {};
  const std::span<const u8> bytes = machine.code().subspan(offset, instruction.info.length);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

const char* name_of(Way way) { return kWayNames[static_cast<unsigned>(way)]; }

Result<std::unique_ptr<Judge>> Judge::create() {
  auto judge = std::make_unique<Judge>();
  judge->native_ = TRY(NativeRunner::create());
  for (unsigned i = 0; i < kEngineCount; ++i) {
    judge->machines_[i] = TRY(Machine::create(static_cast<Engine>(i)));
  }
  return judge;
}

void Judge::place(const Block& block) {
  block_ = &block;
  if (!block.reads_time) native_->place(block);
  for (const auto& machine : machines_) machine->place(block);
}

bool Judge::start(const Start& start, u64 seed) {
  start_ = &start;
  random_ = Random(seed);
  boundaries_.clear();
  Machine& interpreter = machine(Engine::kInterpreter);
  interpreter.begin(start);
  if (!interpreter.finish()) return false;
  interpreter.read(by_interpreter_);
  return true;
}

// Faults are compared as loosely as the processor manual leaves them open for the instruction.
Mask Judge::mask_of(const Ending& expected) const {
  Mask mask;
  const u64 offset = expected.outcome.state.rip - kCodeBase;
  Instruction instruction;
  if (expected.outcome.vector != Outcome::kNoFault && offset < kCodeSize &&
      decoder().decode(std::span(expected.code).subspan(offset), instruction)) {
    mask = Mask::of(instruction, false);
    mask.ignored_gprs = 0;
    mask.ignored_flags = 0;
  }
  return mask;
}

// Instructions of which the host's processor or kernel shows more than a guest has, and those whose faults
// are open.
bool Judge::is_incomparable(const Instruction& instruction, const UserState& state) const {
  const auto& info = instruction.info;
  constexpr u64 kLinuxSystemCall = 0x80;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_HLT:
      return false;
    case ZYDIS_MNEMONIC_INT:
      return info.raw.imm[0].value.u == kLinuxSystemCall;
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_RDPMC:
    // Images with addresses of x87 instructions.
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
      return true;
    default:
      break;
  }
  const bool is_gather = std::ranges::any_of(instruction.all_operands(), [](const auto& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB;
  });
  return is_gather || offer_of(instruction) == Offer::kNo || skip_reason(instruction) != nullptr ||
         volatile_gprs(instruction) != 0 || ignored_flags(instruction) != 0 ||
         is_extended_save(instruction) || is_extended_restore(instruction) ||
         is_address_open(instruction, state, state.rip + info.length);
}

// A block that wrote over itself, or jumped into the middle of an instruction, may have come to anything.
bool Judge::runs_incomparable() {
  constexpr unsigned kMaxSteps = 100'000;
  Machine& interpreter = machine(Engine::kInterpreter);
  interpreter.begin(*start_);
  UserState state = start_->state;
  for (unsigned step = 0; step < kMaxSteps; ++step) {
    const u64 offset = state.rip - kCodeBase;
    Instruction instruction;
    // Alignment checks and single steps are not this test's.
    if ((state.rflags & (x86::kFlagAc | x86::kFlagTf)) != 0) return true;
    // What does not decode, newer processors may have.
    if (offset < kCodeSize && (!decoder().decode(interpreter.code().subspan(offset), instruction) ||
                               is_incomparable(instruction, state))) {
      return true;
    }
    const std::vector<u8> repeated = string_bytes(interpreter, offset, instruction);
    const bool goes_on = interpreter.advance(1);
    // When a repetition that writes over itself notices is the processor's own. SDM 3A 8.1.3.
    if (repeated != string_bytes(interpreter, offset, instruction)) return true;
    if (!goes_on) return false;
    get_user_state(interpreter.save(), state);
  }
  return false;
}

Judge::Lines Judge::compare(const Ending& expected, const Ending& got) const {
  const Mask mask = mask_of(expected);
  const bool is_loose = expected.outcome.vector != Outcome::kNoFault && mask.latitude.has_partial_stores;
  // The quick way first.
  const std::span<const u8> nothing;
  Lines lines;
  if (!is_same({expected.outcome, nothing}, {got.outcome, nothing}, mask)) {
    lines = differences({expected.outcome, nothing}, {got.outcome, nothing}, mask);
  }
  if (is_loose) return lines;
  if (expected.data != got.data) compare_memory("data", expected.data, got.data, kDataBase, lines);
  if (expected.stack != got.stack) compare_memory("stack", expected.stack, got.stack, kStackBase, lines);
  if (expected.code != got.code) compare_memory("code", expected.code, got.code, kCodeBase, lines);
  return lines;
}

Judge::Lines Judge::compare_states(const UserState& expected, const UserState& got) const {
  const Outcome a{.state = expected};
  const Outcome b{.state = got};
  const std::span<const u8> nothing;
  const Mask mask;
  if (is_same({a, nothing}, {b, nothing}, mask)) return {};
  return differences({a, nothing}, {b, nothing}, mask);
}

Judge::Lines Judge::against_host() {
  if (block_->reads_time) return {};
  native_->run(*start_, by_host_);
  if (block_->is_compat) keep_invisible(start_->state, by_host_.outcome.state);
  if (!block_->is_compat && is_same_refusal(by_host_.outcome, by_interpreter_.outcome)) return {};
  Lines lines = compare(by_host_, by_interpreter_);
  if (lines.empty() || is_split_lock_refused(by_host_.outcome) || runs_incomparable()) return {};
  return lines;
}

Judge::Lines Judge::whole(Machine& machine) {
  machine.begin(*start_);
  if (!machine.finish()) return {"does not end"};
  machine.read(got_);
  return compare(by_interpreter_, got_);
}

Judge::Lines Judge::flush() {
  Machine& translator = machine(Engine::kTranslator);
  translator.forget_code();
  translator.begin(*start_);
  // In between: only where the block reads the time.
  translator.platform().on_tsc = [&] {
    if (random_.percent(50)) translator.forget_code();
    if (random_.percent(50)) translator.vcpu().kick();
  };
  for (;;) {
    const Exit exit = translator.vcpu().run({.instructions = 1'000'000, .is_exact = false});
    if (exit.reason == ExitReason::kHalted) break;
    if (exit.reason != ExitReason::kKicked) return {"does not end"};
    translator.forget_translations();
  }
  translator.read(got_);
  return compare(by_interpreter_, got_);
}

void Judge::trace() {
  if (!boundaries_.empty()) return;
  Machine& interpreter = machine(Engine::kInterpreter);
  interpreter.begin(*start_);
  boundaries_.push_back(start_->state);
  while (boundaries_.size() < kMaxBoundaries && interpreter.advance(1)) {
    get_user_state(interpreter.save(), boundaries_.emplace_back());
  }
}

Judge::Lines Judge::stops(bool interrupts) {
  trace();
  Machine& counted = machine(Engine::kCounted);
  for (u64 i = 1; i < boundaries_.size(); ++i) {
    if (!choose_stop(i)) continue;
    counted.begin(*start_);
    if (!counted.advance(i)) return {fmt::format("has ended before instruction {}", i)};
    UserState state;
    get_user_state(counted.save(), state);
    const u64 retired = counted.vcpu().instructions_retired();
    if (retired != i) return {fmt::format("stopped after {} instructions: {} retired", i, retired)};
    if (interrupts) counted.interrupt_now(state);
    Lines lines = compare_states(boundaries_[i], state);
    if (lines.empty() && interrupts) {
      counted.resume(state);
      if (!counted.finish()) return {fmt::format("interrupted at {}: does not end", i)};
      counted.read(got_);
      lines = compare(by_interpreter_, got_);
    }
    if (lines.empty()) continue;
    lines.insert(lines.begin(), fmt::format("at instruction boundary {}", i));
    return lines;
  }
  return {};
}

Judge::Lines Judge::any_time() {
  trace();
  if (boundaries_.size() == kMaxBoundaries) return {};
  Machine& translator = machine(Engine::kTranslator);
  translator.begin(*start_);
  u64 countdown = 1 + random_.below(6);
  translator.platform().on_tsc = [&] {
    if (--countdown != 0) return;
    translator.platform().is_raised = true;
    translator.vcpu().notify_interrupt();
  };
  UserState interrupted;
  if (!translator.run_to_interrupt(interrupted)) {
    translator.read(got_);
    return compare(by_interpreter_, got_);
  }
  bool is_boundary = false;
  for (const UserState& state : boundaries_) {
    is_boundary |= state.rip == interrupted.rip && compare_states(state, interrupted).empty();
  }
  if (!is_boundary) return {fmt::format("interrupted at {:#x} in a state that never is", interrupted.rip)};
  translator.resume(interrupted);
  if (!translator.finish()) return {"does not end after an interrupt"};
  translator.read(got_);
  return compare(by_interpreter_, got_);
}

std::vector<std::string> Judge::judge(Way way) {
  switch (way) {
    case Way::kInterpreter:
      return against_host();
    case Way::kTranslator:
      return whole(machine(Engine::kTranslator));
    case Way::kSingle:
      return whole(machine(Engine::kSingle));
    case Way::kUnlinked:
      return whole(machine(Engine::kUnlinked));
    case Way::kCounted:
      return whole(machine(Engine::kCounted));
    case Way::kFlush:
      return flush();
    case Way::kStops:
      return stops(false);
    case Way::kInterrupts:
      return stops(true);
    default:
      return any_time();
  }
}

}  // namespace doppel::blocks
