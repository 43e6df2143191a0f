// A guest instruction of any mode, encoded again for 64-bit mode with a plain memory operand. SDM 2A
// chapter 2.
#include "engine/interp/borrowed_plan.h"
#include "x86/registers.h"

namespace doppel {
namespace {

using Operands = std::span<const ZydisDecodedOperand>;

bool has_modrm(const ZydisDecodedInstruction& instruction) {
  return (instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
}

bool has_modrm_memory(const ZydisDecodedInstruction& instruction) {
  return has_modrm(instruction) && instruction.raw.modrm.mod != 3;
}

// Whether the field of that encoding names the guest's RSP.
bool names_rsp(Operands operands, ZydisOperandEncoding encoding) {
  for (const ZydisDecodedOperand& operand : operands) {
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || operand.encoding != encoding) continue;
    switch (operand.reg.value) {
      case ZYDIS_REGISTER_RSP:
      case ZYDIS_REGISTER_ESP:
      case ZYDIS_REGISTER_SP:
      case ZYDIS_REGISTER_SPL:
        return true;
      default:
        return false;
    }
  }
  return false;
}

void put_modrm(HostInstruction& host, const ZydisDecodedInstruction& instruction, Operands operands,
               unsigned memory_register, unsigned rsp_substitute) {
  const auto& modrm = instruction.raw.modrm;
  const unsigned reg = names_rsp(operands, ZYDIS_OPERAND_ENCODING_MODRM_REG) ? rsp_substitute : modrm.reg;
  if (has_modrm_memory(instruction)) {
    host.put(reg << 3 | memory_register);
    return;
  }
  const unsigned rm = names_rsp(operands, ZYDIS_OPERAND_ENCODING_MODRM_RM) ? rsp_substitute : modrm.rm;
  host.put(0xc0 | reg << 3 | rm);
}

// What follows ModRM, SIB and displacement.
std::span<const u8> immediate_bytes(const ZydisDecodedInstruction& instruction, std::span<const u8> bytes) {
  if (!has_modrm(instruction)) return {};
  size_t start = instruction.raw.modrm.offset + 1u + instruction.raw.disp.size / 8u;
  if ((instruction.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0) ++start;
  return bytes.subspan(start, instruction.length - start);
}

// A 16-bit operand size that is not a mandatory prefix. Only these instructions of the borrowed set have one.
bool needs_operand_size_prefix(const ZydisDecodedInstruction& instruction) {
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_CRC32:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
      return instruction.operand_width == 16;
    default:
      return false;
  }
}

bool has_mandatory_prefix(const ZydisDecodedInstruction& instruction, u8 value) {
  for (unsigned i = 0; i < instruction.raw.prefix_count; ++i) {
    const auto& prefix = instruction.raw.prefixes[i];
    if (prefix.type == ZYDIS_PREFIX_TYPE_MANDATORY && prefix.value == value) return true;
  }
  return false;
}

// REX is kept even when it is plain 40: it makes byte registers 4..7 mean SPL..DIL.
void put_rex(HostInstruction& host, const ZydisDecodedInstruction& instruction) {
  if ((instruction.attributes & ZYDIS_ATTRIB_HAS_REX) == 0) return;
  const auto& rex = instruction.raw.rex;
  const unsigned extension = has_modrm_memory(instruction) ? 0u : rex.B;
  host.put(0x40u | rex.W << 3 | rex.R << 2 | extension);
}

void put_opcode(HostInstruction& host, const ZydisDecodedInstruction& instruction) {
  if (instruction.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) host.put(0x0f);
  if (instruction.opcode_map == ZYDIS_OPCODE_MAP_0F38) host.put(0x38);
  if (instruction.opcode_map == ZYDIS_OPCODE_MAP_0F3A) host.put(0x3a);
  host.put(instruction.opcode);
}

void put_legacy(HostInstruction& host, const ZydisDecodedInstruction& instruction) {
  if (has_mandatory_prefix(instruction, 0x66) || needs_operand_size_prefix(instruction)) host.put(0x66);
  if (has_mandatory_prefix(instruction, 0xf2)) host.put(0xf2);
  if (has_mandatory_prefix(instruction, 0xf3)) host.put(0xf3);
  put_rex(host, instruction);
  put_opcode(host, instruction);
}

// Outside 64-bit mode VEX.W is ignored where it would only widen a general register. SDM 2A 2.3.5.
bool ignores_vex_w(const ZydisDecodedInstruction& instruction, Operands operands) {
  if (instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64) return false;
  for (const ZydisDecodedOperand& operand : operands) {
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_GPR32) {
      return true;
    }
  }
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
      return true;
    default:
      return false;
  }
}

// The three-byte form can say everything that the two-byte form says. SDM 2A 2.3.5.
void put_vex(HostInstruction& host, const ZydisDecodedInstruction& instruction, Operands operands,
             std::span<const u8> bytes, unsigned rsp_substitute) {
  const std::span<const u8> vex = bytes.subspan(instruction.raw.vex.offset);
  const bool is_short = vex[0] == 0xc5;
  const bool is_64bit = instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
  unsigned extensions = is_short ? ((vex[1] & 0x80u) | 0x60u) : vex[1] & 0xe0u;
  unsigned last = is_short ? vex[1] & 0x7fu : vex[2];
  if (!is_64bit) {
    extensions = 0xe0;
    last |= 0x40;  // VEX.vvvv bit 3 is ignored
    if (ignores_vex_w(instruction, operands)) last &= 0x7f;
  }
  if (has_modrm_memory(instruction)) extensions |= 0x60;
  if (names_rsp(operands, ZYDIS_OPERAND_ENCODING_NDSNDD))
    last = (last & 0x87u) | (~rsp_substitute & 0xfu) << 3;
  host.put(0xc4);
  host.put(extensions | (is_short ? 1u : vex[1] & 0x1fu));
  host.put(last);
  host.put(instruction.opcode);
}

bool has_register_immediate(Operands operands) {
  for (const ZydisDecodedOperand& operand : operands) {
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_IS4) return true;
  }
  return false;
}

}  // namespace

HostInstruction encode_for_host(const ZydisDecodedInstruction& instruction, Operands operands,
                                std::span<const u8> bytes, unsigned memory_register,
                                unsigned rsp_substitute) {
  HostInstruction host;
  if (instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    put_vex(host, instruction, operands, bytes, rsp_substitute);
  } else {
    put_legacy(host, instruction);
  }
  if (has_modrm(instruction)) put_modrm(host, instruction, operands, memory_register, rsp_substitute);
  const bool is_64bit = instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
  // Bit 7 of a register number in the immediate is ignored outside 64-bit mode. SDM 2A 2.3.10.
  const u8 mask = has_register_immediate(operands) && !is_64bit ? 0x7f : 0xff;
  for (const u8 byte : immediate_bytes(instruction, bytes)) host.put(byte & mask);
  return host;
}

}  // namespace doppel
