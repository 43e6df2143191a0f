// Instructions that run as themselves: registers renamed, memory operand redirected, everything else as the
// guest's bytes say. SDM 2A chapter 2.
#include "base/verify.h"
#include "engine/jit/translator.h"

namespace doppel::jit {

// Registers for the fields of the encoding; the guest's numbers where no general register is meant.
struct Translator::Registers {
  Host reg = 0;
  Host rm = 0;
  Host vvvv = 0;
  bool needs_rex = false;  // SPL to DIL
  bool has_high = false;   // AH to BH: no REX at all
};

namespace {

using Operand = ZydisDecodedOperand;

bool is_read(const Operand& operand) { return (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0; }
bool is_written(const Operand& operand) { return (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0; }
// What is not written stays: byte and word registers, and conditional writes.
bool keeps_part(const Operand& operand) {
  return operand.size < 32 || (operand.actions & ZYDIS_OPERAND_ACTION_CONDWRITE) != 0;
}

bool is_explicit_register(const Operand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
         operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && is_general(operand.reg.value);
}

// The guest's RCX as an operand that the encoding does not name, CL of shifts included.
const Operand* implicit_rcx(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const Operand& operand = decoded.operand(i);
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || !is_general(operand.reg.value)) continue;
    const bool is_encoded = operand.encoding != ZYDIS_OPERAND_ENCODING_NONE;
    if (!is_encoded && guest_number(operand.reg.value) == x86::kRcx) return &operand;
  }
  return nullptr;
}

bool has_high_byte(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const Operand& operand = decoded.operand(i);
    if (is_explicit_register(operand) && is_high_byte(operand.reg.value)) return true;
  }
  return false;
}

constexpr Memory kSavedRdx = in_frame(offsetof(Frame, scratch) + 16);

bool names_rcx(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const Operand& operand = decoded.operand(i);
    if (is_explicit_register(operand) && guest_number(operand.reg.value) == x86::kRcx) return true;
  }
  return false;
}

std::span<const u8> immediate_bytes(const Decoded& decoded) {
  const auto& raw = decoded.instruction.raw;
  if (raw.imm[0].size == 0) return {};
  return {decoded.bytes + raw.imm[0].offset, decoded.instruction.length - size_t{raw.imm[0].offset}};
}

// BSF and BSR of zero leave their destination alone. SDM 2A "BSF".
bool may_keep_result(const Decoded& decoded) {
  return decoded.instruction.mnemonic == ZYDIS_MNEMONIC_BSF ||
         decoded.instruction.mnemonic == ZYDIS_MNEMONIC_BSR;
}

}  // namespace

// The explicit general registers of one instruction and the host registers that stand for them.
class Translator::Assignment {
 public:
  struct Entry {
    unsigned guest;
    Host host;
    bool loads;
    bool stores;
  };

  // `free`: scratch registers that may be used. The same guest register gets the same host register.
  Assignment(const Decoded& decoded, std::span<const Host> free, bool has_high)
      : free_(free), keeps_(may_keep_result(decoded)) {
    for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
      if (is_explicit_register(decoded.operand(i))) add(decoded.operand(i), has_high);
    }
  }
  static unsigned scratch_needed(const Decoded& decoded) {
    u16 in_frame = 0;
    for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
      const Operand& operand = decoded.operand(i);
      if (!is_explicit_register(operand)) continue;
      const unsigned guest = guest_number(operand.reg.value);
      if (guest >= kFirstInFrame) in_frame |= static_cast<u16>(1u << guest);
    }
    return static_cast<unsigned>(__builtin_popcount(in_frame));
  }

  std::span<const Entry> entries() const { return {entries_, count_}; }
  Host of(unsigned guest) const {
    for (const Entry& entry : entries()) {
      if (entry.guest == guest) return entry.host;
    }
    return host_register(guest);
  }

 private:
  void add(const Operand& operand, bool has_high) {
    const unsigned guest = guest_number(operand.reg.value);
    // Beside AH to BH the guest's RCX is used under its own number.
    const bool is_copied = guest >= kFirstInFrame || (has_high && guest == x86::kRcx);
    if (!is_copied) return;
    Entry* entry = nullptr;
    for (Entry& known : std::span(entries_, count_)) {
      if (known.guest == guest) entry = &known;
    }
    if (entry == nullptr) {
      VERIFY(count_ < 4);
      entry = &entries_[count_++];
      *entry = {guest, kTest, false, false};
      if (guest >= kFirstInFrame) {
        VERIFY(next_ < free_.size());
        entry->host = free_[next_++];
      }
    }
    entry->loads |= is_read(operand) || keeps_part(operand) || keeps_;
    entry->stores |= is_written(operand);
  }

  std::span<const Host> free_;
  bool keeps_;
  unsigned next_ = 0;
  Entry entries_[4];
  unsigned count_ = 0;
};

void Translator::emit_plain(const Item& item) {
  const Operand* memory = memory_operand(item.decoded);
  emit_operation(item, memory, memory != nullptr ? emit_operand(item, *memory) : Memory());
  if (item.classified.sets_pointer) {
    set_address(kTest, item.rip);
    assembler_->store(in_frame(offsetof(Frame, x87_pointer)), kTest);
  }
}

// What goes into the fields of the encoding.
Translator::Registers Translator::assign(const Decoded& decoded, const Assignment& assignment,
                                         bool has_high) {
  Registers registers;
  const auto& raw = decoded.instruction.raw;
  registers.reg = static_cast<Host>(raw.modrm.reg | raw.rex.R << 3);
  registers.rm = static_cast<Host>(raw.modrm.rm | raw.rex.B << 3);
  if (decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    const u8 mask = is_32bit(decoded) ? 7 : 15;
    registers.reg = static_cast<Host>((raw.modrm.reg | (raw.vex.R ^ 1) << 3) & mask);
    registers.rm = static_cast<Host>((raw.modrm.rm | (raw.vex.B ^ 1) << 3) & mask);
    registers.vvvv = static_cast<Host>(~raw.vex.vvvv & mask);
  }
  registers.has_high = has_high;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const Operand& operand = decoded.operand(i);
    if (!is_explicit_register(operand)) continue;
    const bool is_high = is_high_byte(operand.reg.value);
    Host host = assignment.of(guest_number(operand.reg.value));
    if (is_high) host = static_cast<Host>(host + 4);
    registers.needs_rex |= operand.size == 8 && !is_high && host >= 4;
    switch (operand.encoding) {
      case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        registers.reg = host;
        break;
      case ZYDIS_OPERAND_ENCODING_MODRM_RM:
      case ZYDIS_OPERAND_ENCODING_OPCODE:
        registers.rm = host;
        break;
      case ZYDIS_OPERAND_ENCODING_NDSNDD:
        registers.vvvv = host;
        break;
      default:
        break;
    }
  }
  return registers;
}

// The instruction itself; `place`: where its memory operand is, if it has one.
void Translator::emit_operation(const Item& item, const Operand* memory, Memory place) {
  const Decoded& decoded = item.decoded;
  const Operand* rcx = implicit_rcx(decoded);
  const bool has_high = has_high_byte(decoded);
  if (memory != nullptr) {
    const unsigned needed = Assignment::scratch_needed(decoded) + (rcx != nullptr ? 1 : 0);
    if (has_high) {
      // An address register without REX: RDX where RCX is the operand, and then there is no other.
      const bool is_rcx = names_rcx(decoded);
      if (is_rcx) assembler_->store(kSavedRdx, x86::kRdx);
      const Host base = is_rcx ? Host{x86::kRdx} : kTest;
      assembler_->lea(base, place);
      place = {.base = base};
    } else if (needed > 1) {
      assembler_->lea(kAddress, place);
      place = {.base = kAddress};
    }
  }
  Host free[3];
  unsigned count = 0;
  if (rcx == nullptr) free[count++] = kTest;
  if (memory == nullptr || place.index != kAddend) free[count++] = kAddend;
  if (memory == nullptr) free[count++] = kAddress;
  const Assignment assignment(decoded, {free, count}, has_high);
  for (const auto& entry : assignment.entries()) {
    if (entry.loads) load_guest(entry.host, entry.guest);
  }
  if (rcx != nullptr && (is_read(*rcx) || keeps_part(*rcx))) assembler_->move(kTest, kGuestRcx);

  const Registers registers = assign(decoded, assignment, has_high);
  if (item.classified.may_fault) fault_places_.push_back({assembler_->position(), item.rip});
  emit_encoded(decoded, registers, memory != nullptr ? &place : nullptr);
  for (const auto& entry : assignment.entries()) {
    if (entry.stores) store_guest(entry.guest, entry.host);
  }
  if (rcx != nullptr && is_written(*rcx)) assembler_->move(kGuestRcx, kTest);
  if (memory != nullptr && place.base == x86::kRdx && has_high) assembler_->load(x86::kRdx, kSavedRdx);
}

void Translator::emit_lea(const Item& item) {
  const Decoded& decoded = item.decoded;
  const Operand& to = decoded.operand(0);
  const unsigned guest = guest_number(to.reg.value);
  const Host host = host_register(guest);
  const bool is_wide = to.size == 64;
  if (host != kInFrame && to.size != 16) {
    emit_lea_of(item, decoded.operand(1), host, is_wide);
    return;
  }
  emit_lea_of(item, decoded.operand(1), kAddress, is_wide);
  if (to.size == 16) {
    load_guest(kTest, guest);
    assembler_->byte(0x66);
    assembler_->op(false, {0x89}, kAddress, kTest);
    store_guest(guest, kTest);
  } else {
    store_guest(guest, kAddress);
  }
}

namespace {

void put_opcode_map(Assembler& a, const ZydisDecodedInstruction& instruction) {
  if (instruction.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) a.byte(0x0f);
  if (instruction.opcode_map == ZYDIS_OPCODE_MAP_0F38) a.byte(0x38);
  if (instruction.opcode_map == ZYDIS_OPCODE_MAP_0F3A) a.byte(0x3a);
}

// LOCK, operand size, and the prefixes that are part of an opcode; segments and ignored ones are dropped.
void put_prefixes(Assembler& a, const ZydisDecodedInstruction& instruction) {
  for (unsigned i = 0; i < instruction.raw.prefix_count; ++i) {
    const auto& prefix = instruction.raw.prefixes[i];
    const bool is_kept = prefix.type == ZYDIS_PREFIX_TYPE_MANDATORY || prefix.value == 0x66 ||
                         (prefix.value == 0xf0 && prefix.type == ZYDIS_PREFIX_TYPE_EFFECTIVE);
    if (is_kept) a.byte(prefix.value);
  }
}

// An opcode that 64-bit code has.
struct Opcode {
  u8 value;
  bool has_modrm;
  bool has_operand_in_it;  // a register in the low bits
  Host reg;                // of ModRM when the instruction has none of its own
};

Opcode opcode_of(const Decoded& decoded) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  const auto is_in_opcode = [&](unsigned operand) {
    return operand < instruction.operand_count &&
           decoded.operand(operand).type == ZYDIS_OPERAND_TYPE_REGISTER &&
           decoded.operand(operand).encoding == ZYDIS_OPERAND_ENCODING_OPCODE;
  };
  const bool has_modrm = (instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  Opcode opcode{.value = instruction.opcode,
                .has_modrm = has_modrm,
                .has_operand_in_it = !has_modrm && (is_in_opcode(0) || is_in_opcode(1)),
                .reg = 0};
  if (instruction.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) return opcode;
  // MOV with an offset becomes the one with ModRM, INC and DEC of one byte those of two, and the other ALU
  // opcode for bytes the common one.
  if (opcode.value >= 0xa0 && opcode.value <= 0xa3) {
    constexpr u8 kMoves[] = {0x8a, 0x8b, 0x88, 0x89};
    return {.value = kMoves[opcode.value & 3], .has_modrm = true, .has_operand_in_it = false, .reg = 0};
  }
  if (opcode.value >= 0x40 && opcode.value <= 0x4f) {
    return {.value = 0xff,
            .has_modrm = true,
            .has_operand_in_it = false,
            .reg = static_cast<Host>(opcode.value >> 3 & 1u)};
  }
  if (opcode.value == 0x82) opcode.value = 0x80;
  return opcode;
}

constexpr unsigned extension(Host reg) { return reg == Memory::kNone ? 0u : reg >> 3 & 1u; }

}  // namespace

void Translator::emit_encoded(const Decoded& decoded, const Registers& registers, const Memory* memory) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  const Opcode opcode = opcode_of(decoded);
  const Host base = memory != nullptr ? memory->base : registers.rm;
  const Host index = memory != nullptr ? memory->index : Memory::kNone;
  const bool has_modrm = (instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  const Host reg = has_modrm ? registers.reg : opcode.reg;
  const unsigned r = extension(reg);
  const unsigned x = extension(index);
  const unsigned b = extension(base);
  if (instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    const auto& vex = instruction.raw.vex;
    assembler_->bytes({0xc4, (r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | vex.m_mmmm,
                       unsigned{vex.W} << 7 | (~registers.vvvv & 0xfu) << 3 | unsigned{vex.L} << 2 | vex.pp,
                       opcode.value});
  } else {
    put_prefixes(*assembler_, instruction);
    const unsigned rex = 0x40u | unsigned{instruction.raw.rex.W} << 3 | r << 2 | x << 1 | b;
    VERIFY(!registers.has_high || rex == 0x40);
    if (rex != 0x40 || registers.needs_rex) assembler_->byte(rex);
    put_opcode_map(*assembler_, instruction);
    assembler_->byte(opcode.has_operand_in_it ? (opcode.value & 0xf8u) | (registers.rm & 7) : opcode.value);
  }
  if (opcode.has_modrm) {
    if (memory != nullptr) {
      assembler_->modrm(reg, *memory);
    } else {
      assembler_->byte(0xc0u | (reg & 7) << 3 | (registers.rm & 7));
    }
  }
  assembler_->bytes(immediate_bytes(decoded));
}

}  // namespace doppel::jit
