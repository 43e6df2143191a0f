// String instructions: a page run at a time with the host's block operations where that is exact. SDM 2A-2B.
#include <algorithm>
#include <cstring>

#include "cpu/flat_segment.h"
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

// Work done by one execution of a repeated instruction before timers and interrupts get their turn; a fixed
// amount, so that instruction counts do not depend on when the host looks. An element that could be part of a
// block is one unit, whether it was or not: that depends on what the engine keeps of the page. An element
// that goes alone in any case (it may reach a device) costs what so many of a block do.
constexpr u64 kMaxWork = 65536;
constexpr u64 kSingleElementWork = 256;

// Register view of a string instruction: addresses, direction and count by address size.
class StringState {
 public:
  StringState(Interpreter& s, const Op& op, const Insn& insn)
      : s_(s),
        op_(op),
        mask_(address_mask(op)),
        size_(element_size(insn)),
        is_repeated_(insn.has_rep || insn.has_repne),
        is_backward_((s.state.rflags & x86::kFlagDf) != 0) {}

  unsigned size() const { return size_; }
  bool is_repeated() const { return is_repeated_; }
  bool is_backward() const { return is_backward_; }
  u64 count() const { return is_repeated_ ? s_.state.gpr[x86::kRcx] & mask_ : 1; }
  u64 offset(x86::Gpr reg) const { return s_.state.gpr[reg] & mask_; }

  // Moves `reg` past `elements` elements.
  void advance(x86::Gpr reg, u64 elements) {
    const u64 bytes = elements * size_;
    set(reg, is_backward_ ? s_.state.gpr[reg] - bytes : s_.state.gpr[reg] + bytes);
  }
  void consume(u64 elements) {
    if (is_repeated_) set(x86::kRcx, s_.state.gpr[x86::kRcx] - elements);
  }

  // What a repeated instruction does before its first element: 32-bit addressing clears the upper half of
  // RCX; MOVS and STOS clear those of their pointers too. So on Intel's processors; on AMD's only an element
  // that is done changes registers.
  void begin(bool uses_source = false, bool uses_destination = false) {
    if (!is_repeated_ || mask_ != 0xffffffff || s_.cpuid.is_amd()) return;
    set(x86::kRcx, s_.state.gpr[x86::kRcx]);
    if (uses_source) set(x86::kRsi, s_.state.gpr[x86::kRsi]);
    if (uses_destination) set(x86::kRdi, s_.state.gpr[x86::kRdi]);
  }

  bool source_address(u64& va) { return s_.linear_address(op_.segment, offset(x86::kRsi), size_, false, va); }
  bool destination_address(bool is_write, u64& va) {
    return s_.linear_address(x86::kEs, offset(x86::kRdi), size_, is_write, va);
  }

  // One element. False after a fault.
  bool read_source(u64& value) {
    u64 va;
    return source_address(va) && s_.read_linear(va, &value, size_, s_.access_mode);
  }
  bool read_destination(u64& value) {
    u64 va;
    return destination_address(false, va) && s_.read_linear(va, &value, size_, s_.access_mode);
  }

  // Offsets that do not wrap within a page, nor reach a limit there.
  bool has_runs() const {
    if (mask_ != 0xffffffff) return mask_ != 0xffff;
    return op_.segment != x86::kFs && op_.segment != x86::kGs && (s_.is_64bit || is_flat_32bit(s_.state));
  }
  // How many elements from `va` on lie in its page; forward direction.
  u64 run_length(u64 va) const { return (kPageSize - (va & kPageOffsetMask)) / size_; }

 private:
  static u64 address_mask(const Op& op) {
    switch (op.address_mode & kAddressSizeMask) {
      case kAddress16:
        return 0xffff;
      case kAddress32:
        return 0xffffffff;
      default:
        return ~u64{0};
    }
  }
  static unsigned element_size(const Insn& insn) {
    // The low opcode bit tells byte from wider forms; INS and OUTS (6CH..6FH) have no 64-bit one.
    if ((insn.opcode & 1) == 0) return 1;
    const unsigned largest = insn.opcode <= 0x6f ? 4 : 8;
    return std::min<unsigned>(insn.operand_size, largest);
  }
  void set(x86::Gpr reg, u64 value) {
    u64& target = s_.state.gpr[reg];
    if (mask_ == 0xffff)
      target = (target & ~mask_) | (value & mask_);
    else
      target = value & mask_;
  }

  Interpreter& s_;
  const Op& op_;
  u64 mask_;
  unsigned size_;
  bool is_repeated_;
  bool is_backward_;
};

// Elements that were done, and the work it was. No elements: a fault.
struct Done {
  u64 elements = 0;
  u64 work = kSingleElementWork;
};

// Repeats `step` (which does 1..limit elements) until the count is used up.
template <class Step>
Flow repeat(Interpreter& s, StringState& string, Step step) {
  u64 allowed = s.stops_after_each_repetition() ? 1 : kMaxWork;
  while (string.count() != 0) {
    const Done done = step(std::min(allowed, string.count()));
    if (done.elements == 0) return Flow::kFault;
    string.consume(done.elements);
    if (!string.is_repeated()) return Flow::kNext;
    allowed -= std::min(allowed, done.work);
    if (allowed == 0 && string.count() != 0) {
      s.is_repeating = true;
      return Flow::kJump;  // RIP still names this instruction
    }
  }
  return Flow::kNext;
}

// A block can be moved or filled whole: forward, on one page of RAM.
bool is_block(const StringState& string) { return !string.is_backward() && string.has_runs(); }

// Could the element at `va`, just accessed, be part of a block?
bool is_in_block(Interpreter& s, const StringState& string, u64 va, Access access) {
  if (!is_block(string) || string.run_length(va) == 0) return false;
  if ((access == Access::kWrite ? lookup_write<u8>(&s, va) : lookup_read<u8>(&s, va)) != nullptr) return true;
  const Translation translation = s.mmu.fill(GuestVirt(va), access, s.access_mode);
  return translation.is_valid && s.memory.is_ram(translation.physical, string.size());
}

u64 move_block(Interpreter& s, StringState& string, u64 source, u64 destination, u64 limit) {
  const u64 elements = std::min({limit, string.run_length(source), string.run_length(destination)});
  if (elements == 0) return 0;
  const u8* from = lookup_read<u8>(&s, source);
  if (from == nullptr) {
    s.mmu.fill(GuestVirt(source), Access::kRead, s.access_mode);
    from = lookup_read<u8>(&s, source);
  }
  // The destination may take the source's TLB entry; the pointer stays good.
  u8* to = update_pointer(&s, destination, 1);
  if (from == nullptr || to == nullptr) return 0;
  const u64 bytes = elements * string.size();
  const u64 distance = static_cast<u64>(to - from);
  if (distance >= bytes) {
    std::memmove(to, from, bytes);
  } else {
    // The destination overtakes the source: the pattern between them repeats, as it does element by element.
    for (u64 i = 0; i < bytes; i += string.size()) std::memmove(to + i, from + i, string.size());
  }
  return elements;
}

Flow movs(Interpreter& s, const Op& op, const Insn& insn) {
  StringState string(s, op, insn);
  string.begin(true, true);
  return repeat(s, string, [&](u64 limit) -> Done {
    u64 source;
    u64 destination;
    u64 value = 0;
    if (!string.source_address(source)) return {};
    if (!string.destination_address(true, destination)) {
      // A fault of the load comes before that of the store.
      s.read_linear(source, &value, string.size(), s.access_mode);
      return {};
    }
    const u64 moved = is_block(string) && limit > 1 ? move_block(s, string, source, destination, limit) : 0;
    Done done{moved, moved};
    if (moved == 0) {
      if (!s.read_linear(source, &value, string.size(), s.access_mode) ||
          !s.write_linear(destination, &value, string.size(), s.access_mode)) {
        return {};
      }
      const bool is_plain = string.is_repeated() && is_in_block(s, string, source, Access::kRead) &&
                            is_in_block(s, string, destination, Access::kWrite);
      done = {1, is_plain ? 1 : kSingleElementWork};
    }
    string.advance(x86::kRsi, done.elements);
    string.advance(x86::kRdi, done.elements);
    return done;
  });
}

template <class T>
void fill(u8* to, u64 elements, u64 value) {
  const T element = static_cast<T>(value);
  for (u64 i = 0; i < elements; ++i) std::memcpy(to + i * sizeof(T), &element, sizeof(T));
}

u64 fill_block(Interpreter& s, StringState& string, u64 destination, u64 limit) {
  const u64 elements = std::min(limit, string.run_length(destination));
  u8* to = update_pointer(&s, destination, 1);
  if (to == nullptr || elements == 0) return 0;
  const u64 value = s.state.gpr[x86::kRax];
  switch (string.size()) {
    case 1:
      std::memset(to, static_cast<u8>(value), elements);
      break;
    case 2:
      fill<u16>(to, elements, value);
      break;
    case 4:
      fill<u32>(to, elements, value);
      break;
    default:
      fill<u64>(to, elements, value);
      break;
  }
  return elements;
}

Flow stos(Interpreter& s, const Op& op, const Insn& insn) {
  StringState string(s, op, insn);
  string.begin(false, true);
  return repeat(s, string, [&](u64 limit) -> Done {
    u64 destination;
    if (!string.destination_address(true, destination)) return {};
    const u64 filled = is_block(string) && limit > 1 ? fill_block(s, string, destination, limit) : 0;
    Done done{filled, filled};
    if (filled == 0) {
      if (!s.write_linear(destination, &s.state.gpr[x86::kRax], string.size(), s.access_mode)) return {};
      const bool is_plain = string.is_repeated() && is_in_block(s, string, destination, Access::kWrite);
      done = {1, is_plain ? 1 : kSingleElementWork};
    }
    string.advance(x86::kRdi, done.elements);
    return done;
  });
}

Flow lods(Interpreter& s, const Op& op, const Insn& insn) {
  StringState string(s, op, insn);
  string.begin();
  return repeat(s, string, [&](u64) -> Done {
    u64 source;
    u64 value = 0;
    if (!string.source_address(source) || !s.read_linear(source, &value, string.size(), s.access_mode))
      return {};
    write_gpr(s, x86::kRax * 8, string.size(), value);
    string.advance(x86::kRsi, 1);
    return {1};
  });
}

void compare(Interpreter& s, unsigned size, u64 a, u64 b) {
  u64 flags = pack_flags(s.state.rflags);
  switch (size) {
    case 1:
      alu<Alu::kCmp, u8>(static_cast<u8>(a), static_cast<u8>(b), flags);
      break;
    case 2:
      alu<Alu::kCmp, u16>(static_cast<u16>(a), static_cast<u16>(b), flags);
      break;
    case 4:
      alu<Alu::kCmp, u32>(static_cast<u32>(a), static_cast<u32>(b), flags);
      break;
    default:
      alu<Alu::kCmp, u64>(a, b, flags);
      break;
  }
  set_arithmetic_flags(s, unpack_flags(flags));
}

// REPE goes on while equal, REPNE while not.
bool compare_goes_on(const Interpreter& s, const Insn& insn) {
  const bool is_equal = (s.state.rflags & x86::kFlagZf) != 0;
  return insn.has_repne ? !is_equal : is_equal;
}

// The common loop of CMPS and SCAS: `step` compares one element, false = fault.
template <class Step>
Flow repeat_compare(Interpreter& s, StringState& string, const Insn& insn, Step step) {
  string.begin();
  bool goes_on = true;
  // SDM 2B "REP": a fault finds EFLAGS as they were before the instruction. On AMD's processors it finds
  // those of the last comparison.
  const bool restores_flags = !s.cpuid.is_amd();
  const u64 old_flags = s.state.rflags;
  u64 allowed = s.stops_after_each_repetition() ? 1 : kMaxWork / kSingleElementWork;
  while (goes_on && string.count() != 0) {
    if (allowed-- == 0) {
      s.is_repeating = true;
      // A fault further on has to find them so, too.
      if (restores_flags && !s.stops_after_each_repetition()) s.state.rflags = old_flags;
      return Flow::kJump;
    }
    if (!step()) {
      if (restores_flags) s.state.rflags = old_flags;
      return Flow::kFault;
    }
    string.consume(1);
    if (!string.is_repeated()) return Flow::kNext;
    goes_on = compare_goes_on(s, insn);
  }
  return Flow::kNext;
}

Flow cmps(Interpreter& s, const Op& op, const Insn& insn) {
  StringState string(s, op, insn);
  return repeat_compare(s, string, insn, [&] {
    u64 a = 0;
    u64 b = 0;
    // The order that decides between two faults is the processor's own: Intel's read the destination first,
    // AMD's the source.
    const bool is_good = s.cpuid.is_amd() ? string.read_source(a) && string.read_destination(b)
                                          : string.read_destination(b) && string.read_source(a);
    if (!is_good) return false;
    compare(s, string.size(), a, b);
    string.advance(x86::kRsi, 1);
    string.advance(x86::kRdi, 1);
    return true;
  });
}

Flow scas(Interpreter& s, const Op& op, const Insn& insn) {
  StringState string(s, op, insn);
  return repeat_compare(s, string, insn, [&] {
    u64 value = 0;
    if (!string.read_destination(value)) return false;
    compare(s, string.size(), s.state.gpr[x86::kRax], value);
    string.advance(x86::kRdi, 1);
    return true;
  });
}

// INS and OUTS: the port is checked before memory is touched. There is no 64-bit form.
Flow ins(Interpreter& s, const Op& op, const Insn& insn) {
  StringState string(s, op, insn);
  const unsigned size = std::min(string.size(), 4u);
  const u16 port = static_cast<u16>(s.state.gpr[x86::kRdx]);
  if (!s.check_io(port, size)) return Flow::kFault;
  return repeat(s, string, [&](u64) -> Done {
    u64 destination;
    if (!string.destination_address(true, destination) || !s.probe_write(destination, size, s.access_mode))
      return {};
    const u32 value = s.platform.read_port(port, size);
    if (!s.write_linear(destination, &value, size, s.access_mode)) return {};
    string.advance(x86::kRdi, 1);
    return {1};
  });
}

Flow outs(Interpreter& s, const Op& op, const Insn& insn) {
  StringState string(s, op, insn);
  const unsigned size = std::min(string.size(), 4u);
  const u16 port = static_cast<u16>(s.state.gpr[x86::kRdx]);
  if (!s.check_io(port, size)) return Flow::kFault;
  return repeat(s, string, [&](u64) -> Done {
    u64 source;
    u32 value = 0;
    if (!string.source_address(source) || !s.read_linear(source, &value, size, s.access_mode)) return {};
    s.platform.write_port(port, size, value);
    string.advance(x86::kRsi, 1);
    return {1};
  });
}

#define STRING_ROW(mnemonic, function) {mnemonic, function, false, false, true}
constexpr SemanticRow kRows[] = {
    STRING_ROW(ZYDIS_MNEMONIC_MOVSB, &movs), STRING_ROW(ZYDIS_MNEMONIC_MOVSW, &movs),
    STRING_ROW(ZYDIS_MNEMONIC_MOVSD, &movs), STRING_ROW(ZYDIS_MNEMONIC_MOVSQ, &movs),
    STRING_ROW(ZYDIS_MNEMONIC_STOSB, &stos), STRING_ROW(ZYDIS_MNEMONIC_STOSW, &stos),
    STRING_ROW(ZYDIS_MNEMONIC_STOSD, &stos), STRING_ROW(ZYDIS_MNEMONIC_STOSQ, &stos),
    STRING_ROW(ZYDIS_MNEMONIC_LODSB, &lods), STRING_ROW(ZYDIS_MNEMONIC_LODSW, &lods),
    STRING_ROW(ZYDIS_MNEMONIC_LODSD, &lods), STRING_ROW(ZYDIS_MNEMONIC_LODSQ, &lods),
    STRING_ROW(ZYDIS_MNEMONIC_CMPSB, &cmps), STRING_ROW(ZYDIS_MNEMONIC_CMPSW, &cmps),
    STRING_ROW(ZYDIS_MNEMONIC_CMPSD, &cmps), STRING_ROW(ZYDIS_MNEMONIC_CMPSQ, &cmps),
    STRING_ROW(ZYDIS_MNEMONIC_SCASB, &scas), STRING_ROW(ZYDIS_MNEMONIC_SCASW, &scas),
    STRING_ROW(ZYDIS_MNEMONIC_SCASD, &scas), STRING_ROW(ZYDIS_MNEMONIC_SCASQ, &scas),
    STRING_ROW(ZYDIS_MNEMONIC_INSB, &ins),   STRING_ROW(ZYDIS_MNEMONIC_INSW, &ins),
    STRING_ROW(ZYDIS_MNEMONIC_INSD, &ins),   STRING_ROW(ZYDIS_MNEMONIC_OUTSB, &outs),
    STRING_ROW(ZYDIS_MNEMONIC_OUTSW, &outs), STRING_ROW(ZYDIS_MNEMONIC_OUTSD, &outs),
};

}  // namespace

std::span<const SemanticRow> string_rows() { return kRows; }

}  // namespace doppel::interp
