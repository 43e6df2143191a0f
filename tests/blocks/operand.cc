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

}  // namespace

unsigned Generator::pointer_register() {
  if (random_->percent(2)) return static_cast<unsigned>(random_->below(16));
  const u32 choices = pointers_ | 1u << x86::kRsp;
  for (;;) {
    const auto reg = static_cast<unsigned>(random_->below(16));
    if ((choices >> reg & 1) != 0) return reg;
  }
}

i32 Generator::displacement(bool is_vector) {
  const u64 choice = random_->below(10);
  if (choice < 3) return 0;
  const auto offset = static_cast<i32>(random_->below(choice < 8 ? 200 : 500)) - 100;
  return is_vector && random_->percent(85) ? offset & ~63 : offset;
}

// ModRM, SIB and displacement. Without registers, the place is patched once its size is known.
void Generator::memory_operand(unsigned reg, bool is_vector, EncodingBytes& bytes, unsigned& rxb,
                               u8& segment) {
  auto put32 = [&](u32 value) {
    for (unsigned shift = 0; shift < 32; shift += 8) bytes.push(static_cast<u8>(value >> shift));
  };
  const u64 shape = random_->below(100);
  if (shape < 10) {  // RIP-relative: form_instruction() makes it so
    bytes.push(static_cast<u8>(reg << 3 | 5));
    put32(0);
    return;
  }
  if (shape < 15) {  // absolute
    bytes.push(static_cast<u8>(reg << 3 | 4));
    bytes.push(0x25);
    put32(static_cast<u32>(kDataBase + random_->below(kDataSize)) & (is_vector ? ~63u : ~0u));
    return;
  }
  if (shape < 19) {  // absolute in GS
    segment = 0x65;
    bytes.push(static_cast<u8>(reg << 3 | 4));
    bytes.push(0x25);
    put32(static_cast<u32>(random_->below(0x700)));
    return;
  }
  const unsigned base = pointer_register();
  if (shape < 23) segment = 0x64;
  const bool has_index = small_ != 0 && shape >= 70 && (!is_vector || random_->percent(20));
  const i32 offset = displacement(is_vector);
  const unsigned mod = offset == 0 && (base & 7) != 5 ? 0 : offset >= -128 && offset < 128 ? 1 : 2;
  if (has_index || (base & 7) == 4) {
    unsigned index = 4;
    unsigned scale = 0;
    if (has_index) {
      do index = static_cast<unsigned>(random_->below(16));
      while ((small_ >> index & 1) == 0);
      scale = static_cast<unsigned>(random_->below(4));
    }
    bytes.push(static_cast<u8>(mod << 6 | reg << 3 | 4));
    bytes.push(static_cast<u8>(scale << 6 | (index & 7) << 3 | (base & 7)));
    if (index >= 8) rxb |= 2;
  } else {
    bytes.push(static_cast<u8>(mod << 6 | reg << 3 | (base & 7)));
  }
  if (base >= 8) rxb |= 1;
  if (mod == 1) bytes.push(static_cast<u8>(offset));
  if (mod == 2) put32(static_cast<u32>(offset));
}

// False: this attempt did not give an instruction that the block can have.
bool Generator::form_instruction(const Form& form) {
  u8 modrm = form.has_modrm ? form.modrms[random_->below(form.modrms.size())] : 0;
  EncodingBytes tail;
  unsigned rxb = random_->percent(60) ? static_cast<unsigned>(random_->below(8)) : 0;
  u8 segment = 0;
  const bool is_vex = form.pattern.kind == Template::Kind::kVex;
  if (form.has_modrm && modrm < 0xc0) {
    rxb &= 4;
    const bool is_vector = form.name.find("mm") != std::string::npos;
    memory_operand(modrm >> 3 & 7, is_vector, tail, rxb, segment);
    modrm = tail.data[0];
  } else if (form.has_modrm) {
    tail.push(modrm);
  }
  EncodingBytes bytes;
  if (segment != 0) bytes.push(segment);
  if (form.has_modrm && modrm < 0xc0 && random_->percent(4)) bytes.push(0x67);
  RegisterExtension extension{.rxb = static_cast<u8>(rxb), .forces_rex = random_->percent(8)};
  if (is_vex) extension.vvvv = static_cast<u8>(random_->percent(70) ? random_->below(16) : 0);
  append_opcode(form.pattern, extension, bytes);
  for (u8 i = 0; i < tail.size; ++i) bytes.push(tail.data[i]);
  while (bytes.size < 24) bytes.push(static_cast<u8>(random_->next()));

  Instruction instruction;
  if (!decoder_.decode({bytes.data.data(), 15}, instruction)) return false;
  if (instruction.info.mnemonic != form.mnemonic || !is_acceptable(instruction)) return false;
  const auto& info = instruction.info;
  if (form.has_modrm && (modrm & 0xc7) == 5) {
    const u64 target = kDataBase + (random_->percent(90) ? random_->below(kDataSize - 64) & ~u64{31}
                                                         : kDataSize - random_->below(info.length));
    const auto distance = static_cast<u32>(target - (at_ + info.length));
    std::memcpy(bytes.data.data() + info.raw.disp.offset, &distance, 4);
  }
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

bool Generator::is_acceptable(const Instruction& instruction) {
  u32 written = 0;
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    const bool writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && writes) written |= gpr_bit(operand.reg.value);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    // Operands that no ModRM names go wherever their register points.
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
