// Effective addresses, and what the host's kernel adds to its processor.
#include "tests/differential/open_cases.h"

#include <sys/mman.h>

#include <algorithm>

#include "memory/address.h"
#include "tests/differential/coverage.h"
#include "tests/differential/encoder.h"
#include "x86/registers.h"

namespace doppel::differential {
namespace {

bool is_x87_image(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_FLDENV || mnemonic == ZYDIS_MNEMONIC_FNSTENV ||
         mnemonic == ZYDIS_MNEMONIC_FRSTOR || mnemonic == ZYDIS_MNEMONIC_FNSAVE;
}

bool is_in_parts(const Instruction& instruction, const ZydisDecodedOperand& operand) {
  constexpr unsigned kExtendedRealBits = 80;
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_BOUND:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      return true;
    default:
      return operand.size == kExtendedRealBits;
  }
}

u64 register_value(ZydisRegister reg, const UserState& state, u64 next) {
  if (reg == ZYDIS_REGISTER_NONE) return 0;
  if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) return next;
  const unsigned number = gpr_number(reg);
  return number < state.gpr.size() ? state.gpr[number] : 0;
}

u64 address_mask(const Instruction& instruction) {
  const unsigned width = instruction.info.address_width;
  return width == 64 ? ~u64{0} : (u64{1} << width) - 1;
}

bool reaches_over(const Instruction& instruction, const ZydisDecodedOperand& operand, const UserState& state,
                  u64 next) {
  const auto& memory = operand.mem;
  const u64 displacement = memory.disp.has_displacement ? static_cast<u64>(memory.disp.value) : 0;
  const u64 sum = register_value(memory.base, state, next) +
                  register_value(memory.index, state, next) * std::max<u64>(memory.scale, 1) + displacement;
  const u64 mask = address_mask(instruction);
  return operand.size != 0 && (sum & mask) > mask - (operand.size / 8u - 1u);
}

bool measure_wide_addresses() {
  // Above the lower half of 48 bits; the kernel gives it only where it is asked to.
  const u64 wanted = u64{1} << 48;
  void* got = mmap(reinterpret_cast<void*>(wanted), kPageSize, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (got == MAP_FAILED) return false;
  munmap(got, kPageSize);
  return reinterpret_cast<u64>(got) == wanted;
}

}  // namespace

bool is_address_open(const Instruction& instruction, const UserState& state, u64 next) {
  return std::ranges::any_of(instruction.all_operands(), [&](const ZydisDecodedOperand& operand) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) return false;
    const bool is_open =
        host_is_amd() ? is_x87_image(instruction.info.mnemonic) : is_in_parts(instruction, operand);
    return is_open && reaches_over(instruction, operand, state, next);
  });
}

bool is_split_lock_refused(const Outcome& host) {
  return host.vector == x86::kVectorAc && (host.state.rflags & x86::kFlagAc) == 0;
}

bool host_has_wide_addresses() {
  static const bool kHas = measure_wide_addresses();
  return kHas;
}

}  // namespace doppel::differential
