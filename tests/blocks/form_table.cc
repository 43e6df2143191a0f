// Classes and their shares.
#include "tests/blocks/form_table.h"

#include "tests/differential/coverage.h"
#include "tests/differential/encoder.h"
#include "x86/registers.h"

namespace doppel::blocks {
namespace {

constexpr int kNone = -1;

// Their images hold the addresses of x87 instructions, or more state than a guest has, or they end a block
// in ways of the host's own.
bool is_excluded(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_SWAPGS:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_LEAVE:
    // Loads of arbitrary exception masks are left to the test of single instructions.
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
      return true;
    default:
      return false;
  }
}

bool touches_stack_pointer(const Instruction& instruction) {
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    if (operand.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
    const bool is_register = operand.type == ZYDIS_OPERAND_TYPE_REGISTER;
    if (is_register && gpr_number(operand.reg.value) == x86::kRsp) return true;
  }
  return false;
}

bool is_vector_set(const Instruction& instruction) {
  for (const ZydisDecodedOperand& operand : instruction.visible_operands()) {
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
    if (kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM) return true;
  }
  return false;
}

bool is_legacy_float(const Instruction& instruction) {
  if (instruction.info.meta.isa_ext == ZYDIS_ISA_EXT_X87) return true;
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX) {
      return true;
    }
  }
  return false;
}

bool has_vsib(const Instruction& instruction) {
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB) return true;
  }
  return false;
}

// Raises an exception in ring 3 whatever its operands.
bool always_faults(const Instruction& instruction) {
  const auto category = instruction.info.meta.category;
  return instruction.has(ZYDIS_ATTRIB_IS_PRIVILEGED) || category == ZYDIS_CATEGORY_IO ||
         category == ZYDIS_CATEGORY_IOSTRINGOP || instruction.info.mnemonic == ZYDIS_MNEMONIC_UD2 ||
         instruction.info.mnemonic == ZYDIS_MNEMONIC_CLI || instruction.info.mnemonic == ZYDIS_MNEMONIC_STI ||
         category == ZYDIS_CATEGORY_SYSTEM;
}

bool consumes_flags(ZydisInstructionCategory category, ZydisMnemonic mnemonic) {
  return category == ZYDIS_CATEGORY_CMOV || category == ZYDIS_CATEGORY_SETCC ||
         category == ZYDIS_CATEGORY_FLAGOP || mnemonic == ZYDIS_MNEMONIC_ADC ||
         mnemonic == ZYDIS_MNEMONIC_SBB || mnemonic == ZYDIS_MNEMONIC_RCL || mnemonic == ZYDIS_MNEMONIC_RCR ||
         mnemonic == ZYDIS_MNEMONIC_ADCX || mnemonic == ZYDIS_MNEMONIC_ADOX;
}

}  // namespace

int FormTable::class_of(const Form& form, const Instruction& instruction) {
  const auto& info = instruction.info;
  const bool is_volatile = volatile_gprs(instruction) != 0 || ignored_flags(instruction) != 0;
  if (form.skip != nullptr || is_volatile || is_excluded(info.mnemonic)) return kNone;
  if (is_extended_save(instruction) || is_extended_restore(instruction)) return kNone;
  if (info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || touches_stack_pointer(instruction)) return kNone;
  if (is_string_operation(instruction) || has_vsib(instruction)) return kNone;
  if (always_faults(instruction)) return kSystem;
  if (is_legacy_float(instruction)) return kLegacyFloat;
  if (is_vector_set(instruction)) return kVector;
  if (info.mnemonic == ZYDIS_MNEMONIC_DIV || info.mnemonic == ZYDIS_MNEMONIC_IDIV) return kDivide;
  return consumes_flags(info.meta.category, info.mnemonic) ? kFlagConsumer : kInteger;
}

FormTable::FormTable(const Decoder& decoder) {
  Instruction instruction;
  for (Form& form : enumerate_forms(decoder)) {
    EncodingBytes bytes;
    append_opcode(form.pattern, {}, bytes);
    if (form.has_modrm) bytes.push(form.modrms.front());
    bytes.push(0x48);
    if (!decoder.decode(bytes.data, instruction)) continue;
    const int which = class_of(form, instruction);
    if (which != kNone) forms_[which].push_back(std::move(form));
  }
}

const Form& FormTable::pick(Random& random) const {
  const u64 choice = random.below(1000);
  const Class which = choice < 560   ? kInteger
                      : choice < 720 ? kFlagConsumer
                      : choice < 940 ? kVector
                      : choice < 985 ? kLegacyFloat
                      : choice < 997 ? kDivide
                                     : kSystem;
  return forms_[which][random.below(forms_[which].size())];
}

}  // namespace doppel::blocks
