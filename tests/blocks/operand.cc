// One random instruction of a form, its memory operand aimed through a pointer register.
#include <cstring>

#include "tests/blocks/generator.h"
#include "tests/differential/encoder.h"
#include "x86/registers.h"

namespace doppel::blocks {
namespace {

u32 gpr_bit(ZydisRegister reg) {
  const unsigned number = gpr_number(reg);
  return number < 16 ? 1u << number : 0;
}

constexpr u8 kGsPrefix = 0x65;
// Offsets in GS that lie in the window, whatever GS's base.
constexpr u64 kGsOffsets = 0x700;

void put32(EncodingBytes& bytes, u32 value) {
  for (unsigned shift = 0; shift < 32; shift += 8) bytes.push(static_cast<u8>(value >> shift));
}

bool is_vex(const Form& form) { return form.pattern.kind == Template::Kind::kVex; }

// MOV of the accumulator from or to an address that is no ModRM's.
bool is_bare_address(const Instruction& instruction) {
  return !instruction.has(ZYDIS_ATTRIB_HAS_MODRM) && instruction.info.raw.disp.size != 0;
}

}  // namespace

unsigned Generator::pointer_register() {
  if (random_->percent(2)) return any_register();
  const u32 choices = pointers_ | 1u << x86::kRsp;
  for (;;) {
    const unsigned reg = any_register();
    if ((choices >> reg & 1) != 0) return reg;
  }
}

i32 Generator::displacement(bool is_vector) {
  const u64 choice = random_->below(10);
  if (choice < 3) return 0;
  const auto offset = static_cast<i32>(random_->below(choice < 8 ? 200 : 500)) - 100;
  return is_vector && random_->percent(85) ? offset & ~63 : offset;
}

// 32-bit code has variables below the base, too.
u32 Generator::gs_offset() {
  if (is_compat() && random_->percent(25)) return ~static_cast<u32>(random_->below(80));
  return static_cast<u32>(random_->below(kGsOffsets));
}

// Without registers, the place is patched once the size of the instruction is known.
void Generator::memory_operand(unsigned reg, bool is_vector, Address& out) {
  const u64 shape = random_->below(100);
  if (shape < 10) {  // RIP-relative, in 32-bit code absolute
    out.bytes.push(static_cast<u8>(reg << 3 | 5));
    return put32(out.bytes, 0);
  }
  if (shape < 15) {  // absolute
    out.bytes.push(static_cast<u8>(reg << 3 | 4));
    out.bytes.push(0x25);
    return put32(out.bytes,
                 static_cast<u32>(kDataBase + random_->below(kDataSize)) & (is_vector ? ~63u : ~0u));
  }
  if (shape < 19) {  // absolute in GS
    out.segment = kGsPrefix;
    const bool has_sib = !is_compat() || random_->percent(50);
    out.bytes.push(static_cast<u8>(reg << 3 | (has_sib ? 4 : 5)));
    if (has_sib) out.bytes.push(0x25);
    return put32(out.bytes, gs_offset());
  }
  if (is_compat() && shape < 21) return short_operand(reg, out);
  register_operand(shape, reg, is_vector, out);
}

void Generator::register_operand(u64 shape, unsigned reg, bool is_vector, Address& out) {
  static constexpr u8 kFlatPrefixes[] = {0x26, 0x36, 0x3e, 0x26, 0x36, 0x3e, 0x2e};
  const unsigned base = pointer_register();
  if (shape < 23) out.segment = 0x64;
  if (is_compat() && shape >= 90) out.segment = random_->pick(kFlatPrefixes);
  const bool has_index = small_ != 0 && shape >= 70 && (!is_vector || random_->percent(20));
  const i32 offset = displacement(is_vector);
  const unsigned mod = offset == 0 && (base & 7) != 5 ? 0 : offset >= -128 && offset < 128 ? 1 : 2;
  if (has_index || (base & 7) == 4) {
    unsigned index = 4;
    unsigned scale = 0;
    if (has_index) {
      do index = any_register();
      while ((small_ >> index & 1) == 0);
      scale = static_cast<unsigned>(random_->below(4));
    }
    out.bytes.push(static_cast<u8>(mod << 6 | reg << 3 | 4));
    out.bytes.push(static_cast<u8>(scale << 6 | (index & 7) << 3 | (base & 7)));
    if (index >= 8) out.rxb |= 2;
  } else {
    out.bytes.push(static_cast<u8>(mod << 6 | reg << 3 | (base & 7)));
  }
  if (base >= 8) out.rxb |= 1;
  if (mod == 1) out.bytes.push(static_cast<u8>(offset));
  if (mod == 2) put32(out.bytes, static_cast<u32>(offset));
}

// In GS: without a base 16 bits do not reach the windows. SDM 2A table 2-1.
void Generator::short_operand(unsigned reg, Address& out) {
  static constexpr u32 kBx = 1u << x86::kRbx;
  static constexpr u32 kBp = 1u << x86::kRbp;
  static constexpr u32 kSi = 1u << x86::kRsi;
  static constexpr u32 kDi = 1u << x86::kRdi;
  static constexpr u32 kRegisters[] = {kBx | kSi, kBx | kDi, kBp | kSi, kBp | kDi, kSi, kDi, kBp, kBx};
  const u64 rm = random_->below(8);
  const bool fits = (kRegisters[rm] & ~small_) == 0 || random_->percent(10);
  const u64 offset = random_->below(kGsOffsets);
  out.segment = kGsPrefix;
  out.is_short = true;
  out.bytes.push(static_cast<u8>(fits ? 0x80 | reg << 3 | rm : reg << 3 | 6));
  out.bytes.push(static_cast<u8>(offset));
  out.bytes.push(static_cast<u8>(offset >> 8));
}

// False: this attempt did not give an instruction that the block can have.
bool Generator::form_instruction(const Form& form) {
  u8 modrm = form.has_modrm ? form.modrms[random_->below(form.modrms.size())] : 0;
  const bool has_memory = form.has_modrm && modrm < 0xc0;
  Address address;
  if (!is_compat() && random_->percent(60)) address.rxb = static_cast<unsigned>(random_->below(8));
  if (has_memory) {
    address.rxb &= 4;
    const bool is_vector = form.name.find("mm") != std::string::npos;
    memory_operand(modrm >> 3 & 7, is_vector, address);
  } else if (form.has_modrm) {
    address.bytes.push(modrm);
  } else if (is_compat() && random_->percent(15)) {  // for MOV that has an address and no ModRM
    address.segment = kGsPrefix;
  }
  EncodingBytes bytes;
  if (address.segment != 0) bytes.push(address.segment);
  if (is_compat() ? address.is_short : has_memory && random_->percent(4)) bytes.push(kShortAddress);
  RegisterExtension extension{.rxb = static_cast<u8>(address.rxb)};
  extension.forces_rex = random_->percent(8) && (!is_compat() || is_vex(form));
  if (is_vex(form)) extension.vvvv = static_cast<u8>(random_->percent(70) ? any_register() : 0);
  append_opcode(form.pattern, extension, bytes);
  for (u8 i = 0; i < address.bytes.size; ++i) bytes.push(address.bytes.data[i]);
  while (bytes.size < 24) bytes.push(static_cast<u8>(random_->next()));

  Instruction instruction;
  if (!decoder_.decode({bytes.data.data(), 15}, instruction)) return false;
  if (instruction.info.mnemonic != form.mnemonic || !is_acceptable(instruction)) return false;
  const auto& info = instruction.info;
  aim_absolute(instruction, address.segment, bytes);
  for (const auto& immediate : info.raw.imm) {
    if (immediate.size == 0 || random_->percent(50)) continue;
    const u64 value = random_->integer();
    std::memcpy(bytes.data.data() + immediate.offset, &value, immediate.size / 8);
  }
  begin_instruction();
  std::memcpy(block_->code.data() + (at_ - kCodeBase), bytes.data.data(), info.length);
  at_ += info.length;
  return true;
}

// Aims operands without registers, but for those that memory_operand() has aimed.
void Generator::aim_absolute(const Instruction& instruction, u8 segment, EncodingBytes& bytes) {
  const auto& info = instruction.info;
  u32 value = 0;
  if (is_bare_address(instruction)) {
    if (!is_compat()) return;
    value = segment == kGsPrefix ? gs_offset() : static_cast<u32>(kDataBase + random_->below(kDataSize));
  } else {
    const bool is_open =
        instruction.has(ZYDIS_ATTRIB_HAS_MODRM) && info.raw.modrm.mod == 0 && info.raw.modrm.rm == 5;
    if (!is_open || segment != 0) return;
    const u64 target = kDataBase + (random_->percent(90) ? random_->below(kDataSize - 64) & ~u64{31}
                                                         : kDataSize - random_->below(info.length));
    value = static_cast<u32>(is_compat() ? target : target - (at_ + info.length));
  }
  if (is_compat() && !options_.wild_addresses.empty()) value = static_cast<u32>(wild_value());
  if (info.raw.disp.size == 32) std::memcpy(bytes.data.data() + info.raw.disp.offset, &value, 4);
}

bool Generator::is_acceptable(const Instruction& instruction) {
  u32 written = 0;
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    const bool writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && writes) written |= gpr_bit(operand.reg.value);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    // Operands that no ModRM names go wherever their register points.
    if (is_compat() && is_bare_address(instruction)) continue;
    const bool is_implied = operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM;
    if (is_implied && (gpr_bit(operand.mem.base) & pointers_) == 0 && random_->percent(97)) return false;
  }
  if (is_bit_string(instruction)) {
    const u32 offset = gpr_bit(instruction.operands[1].reg.value);
    if ((offset & small_) == 0 && random_->percent(90)) return false;
  }
  if ((written & (counters_ | 1u << x86::kRsp)) != 0 || !may_write_memory(instruction)) return false;
  if ((written & pointers_) != 0 && random_->percent(94)) return false;
  if ((written & small_) != 0 && random_->percent(80)) return false;
  pointers_ &= ~written;
  small_ &= ~written;
  return true;
}

// Not over return addresses.
bool Generator::may_write_memory(const Instruction& instruction) const {
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN || gpr_number(operand.mem.base) != x86::kRsp) continue;
    if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0) continue;
    const i64 start = operand.mem.disp.value;
    if (operand.mem.index != ZYDIS_REGISTER_NONE || is_bit_string(instruction)) return false;
    const i64 end = start + operand.size / 8;
    if (end > 0 && end > static_cast<i64>(local_bytes_)) return false;
  }
  return true;
}

}  // namespace doppel::blocks
