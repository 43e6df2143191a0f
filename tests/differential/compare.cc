// Comparison: one list of parts, used both to decide and to print.
#include "tests/differential/compare.h"

#include <fmt/format.h>

#include <cstring>

#include "tests/differential/coverage.h"
#include "tests/differential/layout.h"
#include "tests/differential/open_cases.h"
#include "x86/registers.h"

namespace doppel::differential {
namespace {

constexpr const char* kGprNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

constexpr u64 kMaxInstruction = 15;

// TASK_SIZE_MAX.
u64 linux_task_end() { return (u64{1} << (host_has_wide_addresses() ? 56 : 47)) - kPageSize; }

std::string hex(std::span<const u8> bytes) {
  std::string text;
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) text += fmt::format("{:02x}", *byte);
  return text;
}

// Reports each difference to `report(name, expected, got)`; stops when it returns false.
template <class Report>
class Comparer {
 public:
  Comparer(const Outcome& expected, const Outcome& got, Report report)
      : expected_(expected), got_(got), report_(report) {}

  void run(const Mask& mask) {
    const bool is_open_order =
        mask.latitude.has_two_reads && is_access_fault(expected_) && is_access_fault(got_);
    const bool is_open_refusal = mask.latitude.has_open_refusal && is_refused(expected_) && is_refused(got_);
    if (!is_open_order && !is_open_refusal)
      number("vector", static_cast<u64>(expected_.vector), static_cast<u64>(got_.vector));
    compare_fault(mask);
    compare_registers(mask);
    if (!is_fault() || !mask.latitude.has_mmx_entered) compare_x87();
    compare_vectors();
  }

  void number(std::string_view name, u64 expected, u64 got) {
    if (expected == got) return;
    report_(name, fmt::format("{:#x}", expected), fmt::format("{:#x}", got));
  }

 private:
  void bytes(std::string_view prefix, std::size_t index, std::span<const u8> expected,
             std::span<const u8> got) {
    if (std::memcmp(expected.data(), got.data(), expected.size()) == 0) return;
    report_(fmt::format("{}{}", prefix, index), hex(expected), hex(got));
  }

  static bool is_access_fault(const Outcome& outcome) {
    return outcome.vector == x86::kVectorPf || outcome.vector == x86::kVectorGp ||
           outcome.vector == x86::kVectorSs;
  }
  static bool is_refused(const Outcome& outcome) {
    return (outcome.vector == x86::kVectorGp || outcome.vector == x86::kVectorSs) && outcome.error_code == 0;
  }
  bool is_fault() const { return expected_.vector != Outcome::kNoFault && expected_.vector == got_.vector; }

  void compare_fault(const Mask& mask) {
    if (!is_fault()) return;
    u32 visible = ~0u;
    if (expected_.vector == x86::kVectorPf) {
      const u64 seen = mask.latitude.is_address_by_page ? ~kPageOffsetMask : ~u64{0};
      // Linux reports every fault above the addresses it gives to programs as a protection violation.
      if (expected_.cr2 >= linux_task_end()) visible &= ~x86::kPfPresent;
      if (mask.latitude.has_two_pages && expected_.cr2 >> kPageShift != got_.cr2 >> kPageShift) return;
      if (!mask.latitude.has_two_reads) number("cr2", expected_.cr2 & seen, got_.cr2 & seen);
    }
    number("error code", expected_.error_code & visible, got_.error_code & visible);
  }

  void compare_registers(const Mask& mask) {
    const UserState& a = expected_.state;
    const UserState& b = got_.state;
    // The upper halves and R8 to R15 are not 32-bit code's to see.
    const u64 visible = mask.is_compat ? 0xffffffff : ~u64{0};
    for (unsigned i = 0; i < (mask.is_compat ? 8u : 16u); ++i) {
      if (is_fault() && mask.latitude.has_partial_loads) break;
      if (((mask.ignored_gprs >> i) & 1) == 0) number(kGprNames[i], a.gpr[i] & visible, b.gpr[i] & visible);
    }
    const bool is_early = mask.latitude.has_early_rip && b.rip - a.rip <= kMaxInstruction;
    if (!is_early) number("rip", a.rip, b.rip);
    number("rflags", a.rflags & ~mask.ignored_flags, b.rflags & ~mask.ignored_flags);
    number("fs base", a.fs_base, b.fs_base);
    number("gs base", a.gs_base, b.gs_base);
  }

  void compare_x87() {
    const FxsaveArea& a = expected_.state.xsave.legacy;
    const FxsaveArea& b = got_.state.xsave.legacy;
    number("fcw", a.fcw, b.fcw);
    number("fsw", a.fsw, b.fsw);
    number("ftw", a.ftw, b.ftw);
    number("mxcsr", a.mxcsr, b.mxcsr);
    for (std::size_t i = 0; i < 8; ++i) bytes("st", i, {a.st[i].data(), 10}, {b.st[i].data(), 10});
  }

  void compare_vectors() {
    const XsaveArea& a = expected_.state.xsave;
    const XsaveArea& b = got_.state.xsave;
    for (std::size_t i = 0; i < 16; ++i) bytes("xmm", i, a.legacy.unused_xmm[i], b.legacy.unused_xmm[i]);
    for (std::size_t i = 0; i < 16; ++i) bytes("ymm high ", i, a.ymm_high[i], b.ymm_high[i]);
  }

  const Outcome& expected_;
  const Outcome& got_;
  Report report_;
};

// Bit 17 of MXCSR_MASK, in byte 30 of a save area, which is aligned to 16 bytes at least.
bool is_missing_misaligned_mode(std::size_t offset, u8 expected, u8 got) {
  return (kDataBase + offset) % 16 == 14 && expected == 2 && got == 0;
}

template <class Report>
void compare(const Observation& expected, const Observation& got, const Mask& mask, Report report) {
  Comparer<Report>(expected.outcome, got.outcome, report).run(mask);
  const bool is_fault = expected.outcome.vector != Outcome::kNoFault;
  if (is_fault && mask.latitude.has_partial_stores) return;
  if (std::memcmp(expected.memory.data(), got.memory.data(), expected.memory.size()) == 0) return;
  for (std::size_t i = 0; i < expected.memory.size(); ++i) {
    if (expected.memory[i] == got.memory[i]) continue;
    if (mask.may_lack_misaligned_mode && is_missing_misaligned_mode(i, expected.memory[i], got.memory[i]))
      continue;
    const std::size_t size = std::min<std::size_t>(16, expected.memory.size() - i);
    report(fmt::format("memory {:#x}", kDataBase + i), hex(expected.memory.subspan(i, size)),
           hex(got.memory.subspan(i, size)));
    return;
  }
}

}  // namespace

Mask Mask::of(const Instruction& instruction, bool is_compat) {
  return {volatile_gprs(instruction), differential::ignored_flags(instruction), is_compat,
          fault_latitude(instruction), differential::may_lack_misaligned_mode(instruction)};
}

bool is_same(const Observation& expected, const Observation& got, const Mask& mask) {
  bool same = true;
  compare(expected, got, mask,
          [&](std::string_view, const std::string&, const std::string&) { same = false; });
  return same;
}

std::vector<std::string> differences(const Observation& expected, const Observation& got, const Mask& mask) {
  std::vector<std::string> lines;
  compare(expected, got, mask, [&](std::string_view name, const std::string& want, const std::string& have) {
    lines.push_back(fmt::format("{:14} expected {}  got {}", name, want, have));
  });
  return lines;
}

std::string describe(const UserState& state) {
  std::string text;
  for (std::size_t i = 0; i < 16; ++i) {
    text += fmt::format("  {:3} {:016x}{}", kGprNames[i], state.gpr[i], i % 4 == 3 ? "\n" : "");
  }
  const FxsaveArea& fx = state.xsave.legacy;
  text +=
      fmt::format("  rip {:x} rflags {:x} fs {:x} gs {:x} mxcsr {:x} fcw {:x} fsw {:x} ftw {:x}\n", state.rip,
                  state.rflags, state.fs_base, state.gs_base, fx.mxcsr, fx.fcw, fx.fsw, fx.ftw);
  for (std::size_t i = 0; i < 16; ++i) {
    text += fmt::format("  ymm{:<2} {}{}{}", i, hex(state.xsave.ymm_high[i]), hex(fx.unused_xmm[i]),
                        i % 2 == 1 ? "\n" : "");
  }
  for (std::size_t i = 0; i < 8; ++i) {
    text += fmt::format("  st{} {}{}", i, hex({fx.st[i].data(), 10}), i % 4 == 3 ? "\n" : "");
  }
  return text;
}

}  // namespace doppel::differential
