// Encoder: rejection sampling over the free bits of a template.
#include "tests/differential/encoder.h"

#include <cstring>

#include "base/verify.h"
#include "tests/differential/coverage.h"
#include "tests/differential/layout.h"
#include "x86/registers.h"

namespace doppel::differential {
namespace {

constexpr int kAttempts = 400;
constexpr u64 kPadSize = 16;

struct Prefixes {
  u8 segment = 0;
  bool has_67 = false;
};

Prefixes choose_prefixes(const Form& form, bool has_memory, bool is_compat, Random& random) {
  Prefixes prefixes;
  if (random.percent(has_memory ? 25 : 3)) {
    static constexpr u8 kFsGs[] = {0x64, 0x65};
    static constexpr u8 kOthers[] = {0x26, 0x2e, 0x36, 0x3e};
    prefixes.segment = random.percent(75) ? random.pick(kFsGs) : random.pick(kOthers);
  }
  // 16-bit addresses reach the data window only through a segment base.
  const bool can_67 = !is_compat || (form.has_modrm && has_memory);
  prefixes.has_67 = can_67 && random.percent(12);
  if (prefixes.has_67 && is_compat) prefixes.segment = random.percent(50) ? 0x64 : 0x65;
  return prefixes;
}

u8 choose_modrm(const Form& form, Random& random) {
  u8 modrm = form.modrms[random.below(form.modrms.size())];
  if (modrm >= 0xc0) return modrm;
  const auto mode = static_cast<u8>(random.below(3) << 6);
  return static_cast<u8>(mode | (modrm & 0x38) | random.below(8));
}

RegisterExtension choose_extension(const Form& form, bool is_compat, Random& random) {
  RegisterExtension extension;
  if (form.pattern.kind == Template::Kind::kVex) {
    extension.vvvv = static_cast<u8>(random.percent(60) ? random.below(is_compat ? 8 : 16) : 0);
    extension.forces_rex = random.percent(30);
  }
  if (is_compat) return extension;
  if (random.percent(60)) extension.rxb = static_cast<u8>(random.below(8));
  if (random.percent(10)) extension.forces_rex = true;
  return extension;
}

template <class T>
void store(Placement& placement, unsigned offset, T value) {
  std::memcpy(placement.bytes.data() + offset, &value, sizeof(value));
}

void store_sized(Placement& placement, unsigned offset, unsigned size_bits, u64 value) {
  std::memcpy(placement.bytes.data() + offset, &value, size_bits / 8);
}

const ZydisDecodedOperand* static_memory_operand(const Instruction& instruction) {
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    const auto& memory = operand.mem;
    const bool is_vsib = memory.type == ZYDIS_MEMOP_TYPE_VSIB;
    const bool has_base = memory.base != ZYDIS_REGISTER_NONE && memory.base != ZYDIS_REGISTER_RIP &&
                          memory.base != ZYDIS_REGISTER_EIP;
    if (!has_base && (is_vsib || memory.index == ZYDIS_REGISTER_NONE)) return &operand;
  }
  return nullptr;
}

// Points an address that no register can steer into the data window.
void patch_static_address(Encoding& encoding, Random& random) {
  const ZydisDecodedOperand* operand = static_memory_operand(encoding.instruction);
  const auto& disp = encoding.instruction.info.raw.disp;
  if (operand == nullptr || disp.size == 0) return;
  u64 target = kDataBase + 0x200 + random.below(kDataSize - 0x600);
  if (random.percent(70)) target = align_down(target, 64);
  if (disp.size == 16) target &= 0xffff;
  if (operand->mem.base != ZYDIS_REGISTER_NONE) target -= encoding.placement.next();
  store_sized(encoding.placement, disp.offset, disp.size, target);
}

// Keeps explicit addresses near when the instruction also uses the stack through the same register.
void patch_displacement(Encoding& encoding, Random& random) {
  const auto& disp = encoding.instruction.info.raw.disp;
  if (disp.size != 32 || static_memory_operand(encoding.instruction) != nullptr || random.percent(50)) return;
  store_sized(encoding.placement, disp.offset, disp.size, random.below(512) - 256);
}

void patch_immediates(Encoding& encoding, Random& random) {
  for (const auto& immediate : encoding.instruction.info.raw.imm) {
    if (immediate.size == 0 || immediate.is_relative || random.percent(60)) continue;
    store_sized(encoding.placement, immediate.offset, immediate.size, random.integer());
  }
}

bool overlaps(const Placement& placement, u64 target) {
  return target + kPadSize > placement.address && target < placement.next() + kPadSize;
}

// A landing pad elsewhere in the code window, within reach of a displacement of `size_bits`.
u64 choose_target(const Placement& placement, unsigned size_bits, Random& random) {
  for (;;) {
    const u64 target = size_bits == 8 ? placement.next() + random.below(256) - 128
                                      : kCodeBase + random.below(kCodeSize - kPadSize);
    if (!overlaps(placement, target)) return target;
  }
}

void set_branch(Encoding& encoding, Random& random) {
  const auto& info = encoding.instruction.info;
  if (info.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE) return;
  const auto& relative = info.raw.imm[0];
  const bool is_relative = relative.size != 0 && relative.is_relative;
  encoding.placement.branch_target =
      choose_target(encoding.placement, is_relative ? relative.size : 64, random);
  if (!is_relative) return;
  const u64 distance = encoding.placement.branch_target - encoding.placement.next();
  store_sized(encoding.placement, relative.offset, relative.size, distance);
}

// Combinations whose operands could not be chosen freely.
bool is_awkward(const Instruction& instruction) {
  // The one software interrupt that the host's kernel answers.
  if (instruction.info.mnemonic == ZYDIS_MNEMONIC_INT) return instruction.info.raw.imm[0].value.u == 0x80;
  if (is_bit_string(instruction)) {
    return addresses_with(instruction.operands[0].mem, gpr_number(instruction.operands[1].reg.value));
  }
  if (is_extended_save(instruction) || is_extended_restore(instruction)) {
    const auto& memory = instruction.operands[0].mem;
    return addresses_with(memory, x86::kRax) || addresses_with(memory, x86::kRdx);
  }
  if (is_indirect_branch(instruction) && instruction.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
    return gpr_number(instruction.operands[0].reg.value) == x86::kRsp;
  }
  return false;
}

// Inserts `prefix` in front; the decoded instruction stays that of the original bytes.
void prepend(Placement& placement, u8 prefix) {
  std::memmove(placement.bytes.data() + 1, placement.bytes.data(), placement.length);
  placement.bytes[0] = prefix;
  ++placement.length;
}

// Now and then makes the encoding invalid: LOCK where it is not allowed, a prefix that VEX does not allow, a
// vvvv field that must be 1111b. The host raises #UD, whatever the operands. SDM 2A 2.3.
void spoil(const Decoder& decoder, Encoding& encoding, Random& random) {
  if (!random.percent(3) || encoding.placement.length > 14) return;
  Placement spoiled = encoding.placement;
  if (encoding.instruction.info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    static constexpr u8 kForbidden[] = {0x66, 0xf2, 0xf3, 0xf0};
    const auto& vex = encoding.instruction.info.raw.vex;
    // In 32-bit code the top bit of vvvv tells VEX from LDS or is ignored.
    const u64 flippable = encoding.placement.is_compat ? 3 : 4;
    if (random.percent(50)) {
      prepend(spoiled, random.pick(kForbidden));
    } else {
      spoiled.bytes[vex.offset + vex.size - 1u] ^= static_cast<u8>(8 << random.below(flippable));
    }
  } else if (is_lock_invalid(encoding.instruction)) {
    prepend(spoiled, 0xf0);
  }
  Instruction ignored;
  if (!decoder.decode(spoiled.code(), ignored)) encoding.placement = spoiled;
}

u64 choose_address(unsigned length, Random& random) {
  if (random.percent(5)) return kCodeBase + kPageSize - random.below(length);
  return kCodeBase + 0x200 + random.below(kCodeSize - 0x400);
}

}  // namespace

std::optional<Encoding> Encoder::make(const Form& form, Random& random) const {
  for (int i = 0; i < kAttempts; ++i) {
    if (auto encoding = attempt(form, random)) return encoding;
  }
  return std::nullopt;
}

std::optional<Encoding> Encoder::attempt(const Form& form, Random& random) const {
  const u8 modrm = form.has_modrm ? choose_modrm(form, random) : 0;
  const bool has_memory = form.has_modrm && modrm < 0xc0;
  const bool is_compat = decoder_.is_compat();
  const Prefixes prefixes = choose_prefixes(form, has_memory || !form.has_modrm, is_compat, random);
  EncodingBytes bytes;
  if (prefixes.segment != 0) bytes.push(prefixes.segment);
  if (prefixes.has_67) bytes.push(0x67);
  append_opcode(form.pattern, choose_extension(form, is_compat, random), bytes);
  if (form.has_modrm) bytes.push(modrm);
  while (bytes.size < 24) bytes.push(static_cast<u8>(random.next()));

  Encoding encoding;
  Instruction& instruction = encoding.instruction;
  Placement& placement = encoding.placement;
  if (!decoder_.decode({bytes.data.data(), sizeof(placement.bytes)}, instruction)) return std::nullopt;
  placement.is_compat = is_compat;
  placement.length = instruction.info.length;
  std::memcpy(placement.bytes.data(), bytes.data.data(), placement.length);
  placement.address = choose_address(placement.length, random);
  patch_immediates(encoding, random);
  patch_displacement(encoding, random);
  patch_static_address(encoding, random);
  set_branch(encoding, random);
  if (!decoder_.decode(placement.code(), instruction)) return std::nullopt;
  if (form_name(instruction) != form.name || is_awkward(instruction)) return std::nullopt;
  spoil(decoder_, encoding, random);
  return encoding;
}

unsigned gpr_number(ZydisRegister reg) {
  const ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(full) != ZYDIS_REGCLASS_GPR64) return ~0u;
  return static_cast<unsigned>(ZydisRegisterGetId(full));
}

bool addresses_with(const ZydisDecodedOperandMem& memory, unsigned number) {
  return (memory.base != ZYDIS_REGISTER_NONE && gpr_number(memory.base) == number) ||
         (memory.index != ZYDIS_REGISTER_NONE && gpr_number(memory.index) == number);
}

bool is_bit_string(const Instruction& instruction) {
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      return instruction.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
             instruction.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    default:
      return false;
  }
}

bool is_indirect_branch(const Instruction& instruction) {
  const bool is_transfer =
      instruction.info.mnemonic == ZYDIS_MNEMONIC_JMP || instruction.info.mnemonic == ZYDIS_MNEMONIC_CALL;
  const auto& immediate = instruction.info.raw.imm[0];
  return is_transfer && !(immediate.size != 0 && immediate.is_relative);
}

bool is_extended_save(const Instruction& instruction) {
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      return true;
    default:
      return false;
  }
}

bool is_extended_restore(const Instruction& instruction) {
  return instruction.info.mnemonic == ZYDIS_MNEMONIC_XRSTOR ||
         instruction.info.mnemonic == ZYDIS_MNEMONIC_XRSTOR64;
}

bool pops_flags(const Instruction& instruction) {
  return instruction.info.mnemonic == ZYDIS_MNEMONIC_POPF ||
         instruction.info.mnemonic == ZYDIS_MNEMONIC_POPFD ||
         instruction.info.mnemonic == ZYDIS_MNEMONIC_POPFQ;
}

bool is_string_operation(const Instruction& instruction) {
  return instruction.info.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

}  // namespace doppel::differential
