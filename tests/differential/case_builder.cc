// CaseBuilder: random registers, and the equations that aim memory operands.
#include "tests/differential/case_builder.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "x86/registers.h"

namespace doppel::differential {
namespace {

constexpr u32 kMaxOperandSize = 1024;
// Whether addresses have 48 bits or 57.
constexpr u64 kNoncanonical = u64{1} << 56;

Style style_of(const ZydisDecodedOperand& operand, ZydisMnemonic mnemonic) {
  if (mnemonic == ZYDIS_MNEMONIC_FBLD) return Style::kBcd;
  switch (operand.element_type) {
    case ZYDIS_ELEMENT_TYPE_FLOAT16:
      return Style::kF16;
    case ZYDIS_ELEMENT_TYPE_FLOAT32:
      return Style::kF32;
    case ZYDIS_ELEMENT_TYPE_FLOAT64:
      return Style::kF64;
    case ZYDIS_ELEMENT_TYPE_FLOAT80:
      return Style::kX87;
    default:
      return Style::kInteger;
  }
}

// Inverse of an odd number modulo 2^64.
u64 inverse(u64 odd) {
  u64 result = odd;
  for (int i = 0; i < 5; ++i) result *= 2 - odd * result;
  return result;
}

u32 operand_bytes(const ZydisDecodedOperand& operand) {
  const u32 bytes = operand.size / 8u;
  if (bytes == 0) return 8;
  return std::min(bytes, kMaxOperandSize);
}

bool is_real_access(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
         operand.mem.type != ZYDIS_MEMOP_TYPE_MIB;
}

bool is_program_counter(ZydisRegister reg) { return reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP; }

}  // namespace

CaseBuilder::CaseBuilder(const Encoding& encoding, Random& random) : encoding_(encoding) {
  random.fill(base_memory_, Style::kInteger);
  for (const ZydisDecodedOperand& operand : encoding.instruction.visible_operands()) {
    styles_.push_back(style_of(operand, encoding.instruction.info.mnemonic));
  }
  const auto& disp = encoding.instruction.info.raw.disp;
  static_address_ = static_cast<u64>(disp.value);
}

void CaseBuilder::build(TestCase& out, Random& random) {
  case_ = &out;
  random_ = &random;
  out.memory = base_memory_;
  out.state = UserState();
  explicit_target_ = {};
  randomize_registers();
  place_memory_operands();
  adjust_for_mnemonic();
  if (encoding_.placement.is_compat) {
    for (u64& value : out.state.gpr) value &= 0xffffffff;
    out.state.fs_base &= 0xffffffff;
    out.state.gs_base &= 0xffffffff;
  }
  out.state.rip = encoding_.placement.address;
}

Style CaseBuilder::choose_style() {
  if (!styles_.empty() && random_->percent(75)) return styles_[random_->below(styles_.size())];
  static constexpr Style kAny[] = {Style::kInteger, Style::kInteger, Style::kF32, Style::kF64, Style::kF16};
  return random_->pick(kAny);
}

void CaseBuilder::randomize_registers() {
  UserState& state = case_->state;
  for (u64& value : state.gpr) value = random_->integer();
  state.rflags = (random_->next() & x86::kArithmeticFlags) | x86::kFlagReserved1 | x86::kFlagIf;
  if (random_->percent(is_string_operation(encoding_.instruction) ? 50 : 12)) state.rflags |= x86::kFlagDf;
  // Canonical bases of both halves; nothing reads through them unless an operand was aimed.
  state.fs_base = static_cast<u64>(static_cast<i64>(random_->integer() << 17) >> 17);
  state.gs_base = static_cast<u64>(static_cast<i64>(random_->integer() << 17) >> 17);
  const Style style = choose_style();
  random_->fill({state.xsave.legacy.unused_xmm[0].data(), 256}, style);
  random_->fill({state.xsave.ymm_high[0].data(), 256}, style);
  randomize_mxcsr();
  randomize_x87();
}

void CaseBuilder::randomize_mxcsr() {
  u32& mxcsr = case_->state.xsave.legacy.mxcsr;
  mxcsr = 0x1f80;
  if (random_->percent(50)) return;
  const u64 noise = random_->next();
  mxcsr |= static_cast<u32>(noise & 0x603f);                                     // rounding, sticky flags
  if (random_->percent(30)) mxcsr |= 0x0040;                                     // DAZ
  if (random_->percent(30)) mxcsr |= 0x8000;                                     // FTZ
  if (random_->percent(30)) mxcsr &= ~static_cast<u32>((noise >> 16) & 0x1f80);  // unmask some
}

void CaseBuilder::randomize_x87() {
  FxsaveArea& fx = case_->state.xsave.legacy;
  const u64 noise = random_->next();
  fx.fcw = 0x37f;
  if (random_->percent(60)) fx.fcw = static_cast<u16>((noise & 0xf00) | 0x7f);
  if (random_->percent(20)) fx.fcw &= static_cast<u16>(~((noise >> 16) & 0x3f));
  fx.fsw = static_cast<u16>((noise >> 32) & 0x7f00 & ~0x0080u);
  if (random_->percent(30)) fx.fsw |= static_cast<u16>((noise >> 48) & 0x7f);
  // An exception that is pending and unmasked has ES and B set; most cases must run with none.
  if ((fx.fsw & ~fx.fcw & 0x3f) != 0) {
    if (random_->percent(80))
      fx.fsw &= static_cast<u16>(fx.fcw | ~0x3f);
    else
      fx.fsw |= 0x8080;
  }
  fx.ftw = 0xff;
  if (random_->percent(50)) fx.ftw = static_cast<u8>(random_->next());
  const bool is_mmx = random_->percent(25);
  for (auto& st : fx.st) {
    if (is_mmx)
      random_->fill({st.data(), 10}, Style::kInteger);
    else
      random_->x87(std::span<u8, 10>(st.data(), 10));
  }
}

u64 CaseBuilder::address_mask() const {
  switch (encoding_.instruction.info.address_width) {
    case 16:
      return 0xffff;
    case 32:
      return 0xffffffff;
    default:
      return ~u64{0};
  }
}

u64 CaseBuilder::choose_target(u32 size, bool can_be_noncanonical) {
  const u64 middle = kDataBase + 0x200 + random_->below(kDataSize - 0x400 - kMaxOperandSize);
  const u64 within = random_->below(size);
  u64 choice = random_->below(100);
  // Branch targets and flags are read from memory: they must have been written there, or reading must fault.
  const bool must_be_writable = encoding_.placement.branch_target != 0 || pops_flags(encoding_.instruction);
  if (must_be_writable && choice >= 94 && choice < 98) choice = 0;
  u64 alignment = 1;
  while (alignment < size && alignment < 64) alignment *= 2;
  if (size > 64) alignment = 64;
  if (choice < 72) return align_down(middle, alignment);
  if (choice < 88) return middle;
  if (choice < 94) return kDataBase + kPageSize - within;
  if (choice < 96) return kReadOnlyBase - within;
  if (choice < 97) return kReadOnlyBase + random_->below(kReadOnlySize - size);
  if (choice < 98) return kDataEnd - within;
  if (choice < 99) return kDataBase - within;
  return can_be_noncanonical ? kNoncanonical + align_down(random_->below(u64{1} << 40), 64)
                             : kDataEnd + 64 + within;
}

void CaseBuilder::set_address_register(ZydisRegister reg, u64 value) {
  u64 mask = address_mask();
  // Implied stack accesses take no address-size prefix: 64-bit code always uses all of RSP.
  const unsigned number = gpr_number(reg);
  if (number == x86::kRsp && ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR64) mask = ~u64{0};
  u64& full = case_->state.gpr[number];
  full = (full & ~mask) | (value & mask);
}

u64 CaseBuilder::effective_address(const ZydisDecodedOperand& operand, u64 target) {
  const auto& memory = operand.mem;
  const bool is_fs = memory.segment == ZYDIS_REGISTER_FS;
  const bool is_gs = memory.segment == ZYDIS_REGISTER_GS;
  if (!is_fs && !is_gs) return target;
  u64& base = is_fs ? case_->state.fs_base : case_->state.gs_base;
  const bool has_index = memory.index != ZYDIS_REGISTER_NONE;
  if ((memory.base == ZYDIS_REGISTER_NONE && !has_index) || is_program_counter(memory.base)) {
    const u64 start = memory.base == ZYDIS_REGISTER_NONE ? 0 : encoding_.placement.next();
    const u64 offset = (start + static_address_) & address_mask();
    base = target - offset;
    return offset;
  }
  if (!is_wide_address()) base = target - random_->below(std::min(address_mask(), target));
  return target - base;
}

i64 CaseBuilder::solve_registers(const ZydisDecodedOperandMem& memory, u64 sum) {
  const bool has_base = memory.base != ZYDIS_REGISTER_NONE && !is_program_counter(memory.base);
  const bool has_index = memory.index != ZYDIS_REGISTER_NONE;
  if (!has_base && !has_index) return 0;
  if (has_base && !has_index) {
    set_address_register(memory.base, sum);
    return 0;
  }
  if (ZydisRegisterGetClass(memory.index) == ZYDIS_REGCLASS_GPR8) {  // XLAT
    set_address_register(memory.base, sum - (case_->state.gpr[x86::kRax] & 0xff));
    return 0;
  }
  if (has_base && gpr_number(memory.base) != gpr_number(memory.index)) {
    const u64 index = case_->state.gpr[gpr_number(memory.index)];
    set_address_register(memory.base, sum - index * memory.scale);
    return 0;
  }
  // One register, times 1 + scale or scale: an odd factor can be inverted, an even one must divide.
  const u64 factor = memory.scale + (has_base ? 1u : 0u);
  if ((factor & 1) != 0) {
    set_address_register(memory.index, sum * inverse(factor));
    return 0;
  }
  const u64 rest = sum & (factor - 1);
  set_address_register(memory.index, (sum - rest) / factor);
  return -static_cast<i64>(rest);
}

u64 CaseBuilder::place_bit_offset(const ZydisDecodedOperand& operand) {
  const ZydisDecodedOperand& offset_operand = encoding_.instruction.operands[1];
  const unsigned width = offset_operand.size;
  const u64 mask = width == 64 ? ~u64{0} : (u64{1} << width) - 1;
  const u64 noise = random_->next();
  const u64 offset = static_cast<u64>(static_cast<i64>(noise) >> (random_->percent(80) ? 48 : 30));
  u64& full = case_->state.gpr[gpr_number(offset_operand.reg.value)];
  full = (full & ~mask) | (offset & mask);
  const i64 seen = static_cast<i64>(offset << (64 - width)) >> (64 - width);
  return static_cast<u64>(seen >> (width == 16 ? 4 : width == 32 ? 5 : 6)) * (operand.size / 8);
}

void CaseBuilder::place_operand(const ZydisDecodedOperand& operand) {
  const u32 size = operand_bytes(operand);
  const bool is_static = (operand.mem.base == ZYDIS_REGISTER_NONE || is_program_counter(operand.mem.base)) &&
                         operand.mem.index == ZYDIS_REGISTER_NONE;
  // A segment base itself must be canonical, so without registers the sum is.
  u64 target = choose_target(size, is_wide_address() && !is_static);
  const bool is_bits = is_bit_string(encoding_.instruction);
  const u64 distance = is_bits ? place_bit_offset(operand) : 0;
  const u64 address = effective_address(operand, target - distance);
  const u64 sum = address - static_cast<u64>(operand.mem.disp.has_displacement ? operand.mem.disp.value : 0);
  target += static_cast<u64>(solve_registers(operand.mem, sum));
  if (is_static && operand.mem.segment != ZYDIS_REGISTER_FS && operand.mem.segment != ZYDIS_REGISTER_GS) {
    target = static_address_ + (operand.mem.base == ZYDIS_REGISTER_NONE ? 0 : encoding_.placement.next());
  }
  explicit_target_ = {target, size};
  fill_target(explicit_target_);
}

// Gathers: base in the middle of the window, elements spread around it. Nothing faults: the order in which
// elements are gathered before a fault is the processor's own. SDM 2C VGATHERDPS.
void CaseBuilder::place_vector_operand(const ZydisDecodedOperand& operand) {
  const auto& memory = operand.mem;
  const u64 center = kDataBase + kPageSize;
  const u64 address = effective_address(operand, center);
  u64 start = center;
  if (memory.base != ZYDIS_REGISTER_NONE) {
    set_address_register(memory.base, address - static_cast<u64>(memory.disp.value));
  } else if (memory.segment == ZYDIS_REGISTER_FS || memory.segment == ZYDIS_REGISTER_GS) {
    (memory.segment == ZYDIS_REGISTER_FS ? case_->state.fs_base : case_->state.gs_base) =
        center - static_address_;
  } else {
    start = static_address_;
  }
  const unsigned number = static_cast<u8>(ZydisRegisterGetId(memory.index));
  const char* name = ZydisMnemonicGetString(encoding_.instruction.info.mnemonic);
  const bool has_qword_index = std::string_view(name).find("gatherq") != std::string_view::npos;
  const unsigned width = has_qword_index ? 8 : 4;
  const i64 lowest = (static_cast<i64>(kDataBase) - static_cast<i64>(start)) / memory.scale + 1;
  const i64 highest =
      (static_cast<i64>(kDataBase + kDataSize - 16) - static_cast<i64>(start)) / memory.scale - 1;
  for (unsigned offset = 0; offset < 32; offset += width) {
    const i64 index = lowest + static_cast<i64>(random_->below(static_cast<u64>(highest - lowest)));
    auto& xsave = case_->state.xsave;
    u8* half = offset < 16 ? xsave.legacy.unused_xmm[number].data() : xsave.ymm_high[number].data();
    std::memcpy(half + offset % 16, &index, width);
  }
}

void CaseBuilder::place_memory_operands() {
  const auto operands = encoding_.instruction.all_operands();
  // Explicit operands last: their registers win over the ones implied (push [rsp + 8]).
  for (const bool is_explicit : {false, true}) {
    for (const ZydisDecodedOperand& operand : operands) {
      if (!is_real_access(operand)) continue;
      if ((operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) != is_explicit) continue;
      if (operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB)
        place_vector_operand(operand);
      else
        place_operand(operand);
    }
  }
}

void CaseBuilder::fill_target(Target target) {
  std::array<u8, kMaxOperandSize> bytes;
  random_->fill({bytes.data(), target.size}, choose_style());
  write_memory(target.address, {bytes.data(), target.size});
}

void CaseBuilder::write_memory(u64 address, std::span<const u8> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const u64 offset = address + i - kDataBase;
    if (offset < kDataSize) case_->memory[offset] = bytes[i];
  }
}

u64 CaseBuilder::read_memory(u64 address, u32 size) const {
  u64 value = 0;
  for (u32 i = 0; i < size; ++i) {
    const u64 offset = address + i - kDataBase;
    if (offset < kDataSize) value |= static_cast<u64>(case_->memory[offset]) << (8 * i);
  }
  return value;
}

}  // namespace doppel::differential
