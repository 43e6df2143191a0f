// CaseBuilder: what particular mnemonics need so that their interesting paths are reached.
#include <cstring>

#include "tests/differential/case_builder.h"
#include "tests/differential/coverage.h"
#include "x86/registers.h"

namespace doppel::differential {
namespace {

std::span<const u8> bytes_of(const u64& value, std::size_t size) {
  return {reinterpret_cast<const u8*>(&value), size};
}

bool is_compare_string(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      return true;
    default:
      return false;
  }
}

}  // namespace

void CaseBuilder::adjust_for_mnemonic() {
  const auto& info = encoding_.instruction.info;
  if (info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) adjust_branch();
  if (is_string_operation(encoding_.instruction)) adjust_string();
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
      return adjust_compare_exchange();
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
      return adjust_division();
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_LEAVE:
      case_->state.gpr[x86::kRbp] = kDataBase + 0x800 + align_down(random_->below(0x1000), 8);
      return;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ: {
      // Neither TF nor AC: their effect would strike after the instruction, in the harness.
      const u64 flags = random_->next() & ~(x86::kFlagTf | x86::kFlagAc);
      return write_memory(stack_pointer(), bytes_of(flags, 8));
    }
    default:
      return adjust_state_image();
  }
}

u64 CaseBuilder::stack_pointer() const {
  return case_->state.gpr[x86::kRsp] & (encoding_.placement.is_compat ? 0xffffffff : ~u64{0});
}

void CaseBuilder::adjust_branch() {
  const auto& instruction = encoding_.instruction;
  const u64 target = encoding_.placement.branch_target;
  if (instruction.info.mnemonic == ZYDIS_MNEMONIC_RET) {
    return write_memory(stack_pointer(), bytes_of(target, 8));
  }
  if (!is_indirect_branch(instruction)) {
    // LOOP and JRCXZ turn on a zero or one in the counter.
    if (random_->percent(40)) case_->state.gpr[x86::kRcx] = random_->below(3);
    return;
  }
  if (instruction.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
    case_->state.gpr[gpr_number(instruction.operands[0].reg.value)] = target;
  } else {
    write_memory(explicit_target_.address, bytes_of(target, instruction.operands[0].size / 8));
  }
}

void CaseBuilder::adjust_string() {
  auto& gpr = case_->state.gpr;
  const u64 mask = address_mask();
  const u64 choice = random_->below(10);
  u64 count = random_->below(40);
  if (choice == 8) count = random_->below(700);
  if (choice == 9) count = random_->integer();
  gpr[x86::kRcx] = (gpr[x86::kRcx] & ~mask) | (count & mask);
  if (is_compare_string(encoding_.instruction.info.mnemonic) && random_->percent(60)) {
    // Long runs of equal elements with a few different ones.
    const u64 pattern = (gpr[x86::kRax] & 0xff) * 0x0101010101010101;
    gpr[x86::kRax] = pattern;
    case_->memory.fill(static_cast<u8>(pattern));
    for (int i = 0; i < 8; ++i) case_->memory[random_->below(kDataSize)] = static_cast<u8>(random_->next());
  }
  // Overlapping source and destination.
  if (random_->percent(30)) {
    const u64 near = gpr[x86::kRdi] + random_->below(64) - 32;
    const bool has_override = encoding_.instruction.has(ZYDIS_ATTRIB_HAS_SEGMENT);
    if (!has_override) gpr[x86::kRsi] = (gpr[x86::kRsi] & ~mask) | (near & mask);
  }
}

void CaseBuilder::adjust_compare_exchange() {
  if (random_->percent(50)) return;
  auto& gpr = case_->state.gpr;
  const auto& instruction = encoding_.instruction;
  const ZydisDecodedOperand& first = instruction.operands[0];
  // The expected value must not move the operand.
  if (first.type == ZYDIS_OPERAND_TYPE_MEMORY &&
      (addresses_with(first.mem, x86::kRax) || addresses_with(first.mem, x86::kRdx))) {
    return;
  }
  if (instruction.info.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B) {
    gpr[x86::kRax] = read_memory(explicit_target_.address, 4);
    gpr[x86::kRdx] = read_memory(explicit_target_.address + 4, 4);
  } else if (instruction.info.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B) {
    gpr[x86::kRax] = read_memory(explicit_target_.address, 8);
    gpr[x86::kRdx] = read_memory(explicit_target_.address + 8, 8);
  } else if (first.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    gpr[x86::kRax] = gpr[gpr_number(first.reg.value)];
  } else {
    gpr[x86::kRax] = read_memory(explicit_target_.address, first.size / 8u);
  }
}

void CaseBuilder::adjust_division() {
  auto& gpr = case_->state.gpr;
  const u64 choice = random_->below(8);
  if (choice < 3)
    gpr[x86::kRdx] = 0;
  else if (choice < 5)
    gpr[x86::kRdx] = static_cast<u64>(static_cast<i64>(gpr[x86::kRax]) >> 63);
  else if (choice < 7)
    gpr[x86::kRdx] >>= random_->below(64);
  if (random_->percent(50)) gpr[x86::kRax] &= ~u64{0xff00};  // AX for 8-bit divisors
  place_memory_operands();
}

// A host that allows MXCSR.MM, which doppel does not offer to guests, must not be given it.
void CaseBuilder::clear_misaligned_mode(u64 address) {
  constexpr u64 kMisalignedMode = u64{1} << 17;
  if (!host_has_misaligned_mode()) return;
  write_memory(address, bytes_of(read_memory(address, 4) & ~kMisalignedMode, 4));
}

// Instructions that load a whole unit's state must often find an acceptable image.
void CaseBuilder::adjust_state_image() {
  UserState& state = case_->state;
  const auto mnemonic = encoding_.instruction.info.mnemonic;
  const bool is_restore = is_extended_restore(encoding_.instruction);
  const bool is_save = is_extended_save(encoding_.instruction);
  const bool is_legacy = mnemonic == ZYDIS_MNEMONIC_FXRSTOR || mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
  if (is_restore || is_save) {
    // Only the components the guest has; the host may have more.
    state.gpr[x86::kRax] = (state.gpr[x86::kRax] & ~u64{0xffffffff}) | random_->below(8);
    state.gpr[x86::kRdx] &= ~u64{0xffffffff};
    place_memory_operands();
  }
  if (is_restore || is_legacy) {
    const UserState kept = state;
    randomize_mxcsr();
    randomize_x87();
    XsaveArea image = state.xsave;
    state = kept;
    random_->fill({image.ymm_high[0].data(), 256}, choose_style());
    image.xstate_bv = random_->below(8);
    if (is_restore && random_->percent(10)) image.header_reserved[random_->below(6)] = random_->next();
    if (random_->percent(10)) image.legacy.mxcsr |= static_cast<u32>(random_->next()) & 0xffff0000;
    write_memory(explicit_target_.address, {reinterpret_cast<const u8*>(&image), is_restore ? 832u : 512u});
  }
  const bool is_load = mnemonic == ZYDIS_MNEMONIC_LDMXCSR || mnemonic == ZYDIS_MNEMONIC_VLDMXCSR;
  if (is_load && random_->percent(85)) {
    write_memory(explicit_target_.address, bytes_of(random_->next() & 0xffff, 4));
  }
  if (is_load) clear_misaligned_mode(explicit_target_.address);
  if (is_restore || is_legacy) clear_misaligned_mode(explicit_target_.address + offsetof(FxsaveArea, mxcsr));
}

}  // namespace doppel::differential
