// Makes up RAM contents and CPU states.
#include "tests/hostile/random_guest.h"

#include <vector>

#include "tests/hostile/instruction_mix.h"
#include "tests/hostile/layout.h"

namespace doppel::hostile {
namespace {

using x86::CpuidTable;

unsigned code_size_of(Mode mode) {
  if (mode == Mode::kLong) return 8;
  return mode == Mode::kProtected32 || mode == Mode::kCompatibility ? 4 : 2;
}

Paging paging_of(Choices& choices, const CpuidTable& cpuid, Mode mode) {
  if (is_long_mode(mode)) {
    return cpuid.has(x86::Feature::kLa57) && choices.percent(50) ? Paging::kFiveLevel : Paging::kFourLevel;
  }
  if (mode == Mode::kReal) return Paging::kOff;
  return choices.pick({Paging::kOff, Paging::kLegacy, Paging::kPae});
}

Segment segment_of(u16 selector, u16 attributes, u32 limit, u64 base) {
  return {.selector = selector, .attributes = attributes, .limit = limit, .base = base};
}

void set_segments(CpuState& state, Mode mode, bool is_user) {
  const u16 dpl = is_user ? 0x60 : 0;
  if (mode == Mode::kReal || mode == Mode::kVirtual8086) {
    const u16 attributes = mode == Mode::kReal ? 0x93 : 0xf3;
    for (Segment& segment : state.segments) segment = segment_of(0, attributes, 0xffff, 0);
    return;
  }
  const u16 data = is_user ? kUserData | 3 : kDataSegment;
  for (Segment& segment : state.segments) {
    segment = segment_of(data, static_cast<u16>(0xc093 | dpl), 0xffffffff, 0);
  }
  Segment& cs = state.segment(x86::kCs);
  switch (mode) {
    case Mode::kLong:
      cs = segment_of(is_user ? kUserCode64 | 3 : kCode64, static_cast<u16>(0xa09b | dpl), 0xffffffff, 0);
      break;
    case Mode::kProtected16:
      cs = segment_of(kCode16, static_cast<u16>(0x009b | dpl), 0xffff, 0);
      break;
    default:
      cs = segment_of(is_user ? kUserCode32 | 3 : kCode32, static_cast<u16>(0xc09b | dpl), 0xffffffff, 0);
      break;
  }
}

// Control registers that suit the mode.
void set_mode(CpuState& state, Mode mode, Paging paging, u64 cr3) {
  state.cr0 = x86::kCr0Et | x86::kCr0Ne | x86::kCr0Mp;
  state.cr4 = x86::kCr4Osfxsr | x86::kCr4Osxmmexcpt | x86::kCr4Osxsave | x86::kCr4Pse;
  state.xcr0 = x86::kXcr0X87 | x86::kXcr0Sse | x86::kXcr0Avx;
  state.cr3 = cr3;
  if (mode != Mode::kReal) state.cr0 |= x86::kCr0Pe;
  if (paging != Paging::kOff) state.cr0 |= x86::kCr0Pg;
  if (paging >= Paging::kPae) state.cr4 |= x86::kCr4Pae;
  if (paging == Paging::kPae) {
    for (u64 i = 0; i < 4; ++i) state.pdpte[i] = i == 0 ? (kPageTables + kPageSize) | 1 : 0;
  }
  if (paging == Paging::kFiveLevel) state.cr4 |= x86::kCr4La57;
  if (is_long_mode(mode)) state.efer = x86::kEferLme | x86::kEferLma | x86::kEferSce | x86::kEferNxe;
  if (mode == Mode::kVirtual8086) state.rflags |= x86::kFlagVm | x86::kFlagIopl;
}

void set_tables(CpuState& state, Mode mode) {
  state.gdtr = {.base = kGdt, .limit = kGdtEntries * 8 - 1};
  state.idtr = {.base = mode == Mode::kReal ? 0 : kIdt, .limit = 0xfff};
  state.tr = segment_of(kTssSelector, 0x8b, 0x2067, kTss);
  state.ldtr = segment_of(kLdtSelector, 0x82, 0xff, kLdt);
  state.star = u64{kUserCode32 | 3} << 48 | u64{kCode64} << 32 | kCode;
  state.lstar = state.cstar = kHandlers;
  state.sysenter_cs = kCode64;
  state.sysenter_eip = kHandlers;
  state.sysenter_esp = kStack;
}

// What a processor could not be in, too.
void spoil(CpuState& state, Choices& choices) {
  for (u64 i = choices.below(4); i > 0; --i) {
    switch (choices.below(16)) {
      case 0:
        state.cr0 ^= u64{1} << choices.below(32);
        break;
      case 1:
        state.cr4 ^= u64{1} << choices.below(22);
        break;
      case 2:
        state.efer ^= choices.pick({x86::kEferLma, x86::kEferLme, x86::kEferNxe, x86::kEferSce});
        break;
      case 3:
        state.cr3 = interesting_address(choices);
        break;
      case 4:
        state.rip = interesting_address(choices);
        break;
      case 5:
        state.gpr[x86::kRsp] = interesting_address(choices);
        break;
      case 6:
        state.idtr = {interesting_address(choices), static_cast<u16>(choices.next())};
        break;
      case 7:
        state.gdtr = {interesting_address(choices), static_cast<u16>(choices.next())};
        break;
      case 8:
        state.tr = segment_of(0, static_cast<u16>(choices.next()), static_cast<u32>(choices.next()),
                              interesting_address(choices));
        break;
      case 9:
        state.segment(static_cast<unsigned>(choices.below(6))) =
            segment_of(static_cast<u16>(choices.next()), static_cast<u16>(choices.next() & 0xf0ff),
                       static_cast<u32>(interesting_value(choices)), interesting_value(choices));
        break;
      case 10:
        state.rflags ^= u64{1} << choices.below(22);
        break;
      case 11:
        state.xcr0 = choices.next();
        break;
      case 12:
        state.fx.mxcsr = static_cast<u32>(choices.next() & 0xffff);
        break;
      case 13:
        state.pdpte[choices.below(4)] = interesting_value(choices);
        break;
      case 14:
        state.shadow = static_cast<u8>(choices.next());
        break;
      default:
        state.rip = choices.next();
        break;
    }
  }
}

void set_debug_registers(CpuState& state, Choices& choices) {
  if (choices.percent(75)) return;
  for (u64& address : state.dr) address = interesting_address(choices);
  state.dr7 = (choices.next() & 0xffff23ff) | x86::kDr7Fixed;
  if (choices.percent(30)) state.rflags |= x86::kFlagTf;
}

void set_x87(CpuState& state, Choices& choices) {
  for (auto& st : state.fx.st) choices.fill(std::span(st).first(10));
  state.fx.fcw = static_cast<u16>(choices.next());
  state.fx.fsw = static_cast<u16>(choices.next());
  state.fx.ftw = static_cast<u8>(choices.next());
  state.fx.mxcsr = choices.percent(50) ? 0x1f80 : static_cast<u32>(choices.next() & 0xffff);
  for (Ymm& ymm : state.ymm) choices.fill({reinterpret_cast<u8*>(&ymm), sizeof(ymm)});
}

void append(std::vector<u8>& code, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) code.push_back(static_cast<u8>(byte));
}
void append(std::vector<u8>& code, u64 value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) code.push_back(static_cast<u8>(value >> (8 * i)));
}

// Starts over elsewhere in the code with a fresh stack, so that a faulting instruction is not the end.
std::vector<u8> restart_routine(Choices& choices, unsigned code_size, u64 address) {
  std::vector<u8> code;
  if (code_size == 8)
    append(code, {0x48, 0xc7, 0xc4});
  else
    append(code, {0xbc});
  const unsigned size = code_size == 2 ? 2 : 4;
  append(code, code_size == 2 ? 0x7000 : kStack, size);
  append(code, {0xe9});
  const u64 target = kCode + choices.below(kCodeBytes);
  append(code, target - (address + code.size() + size), size);
  return code;
}

// Routines that start over, or do something short and return.
void write_handlers(GuestMemory& memory, Choices& choices, unsigned code_size) {
  InstructionMix mix(choices, code_size);
  for (u64 vector = 0; vector < 256; ++vector) {
    const u64 address = kHandlers + vector * kHandlerBytes;
    std::vector<u8> routine = restart_routine(choices, code_size, address);
    if (choices.percent(30)) {
      routine = choices.percent(30) ? mix.one() : std::vector<u8>();
      routine.resize(std::min<std::size_t>(routine.size(), kHandlerBytes - 3));
      if (code_size == 8) routine.push_back(0x48);
      routine.push_back(0xcf);
    }
    memory.write(GuestPhys(address), routine);
  }
}

void write_vector_table(GuestMemory& memory) {
  for (u32 vector = 0; vector < 256; ++vector) {
    memory.write_value(GuestPhys(vector * 4), static_cast<u32>(kHandlers + vector * kHandlerBytes));
  }
}

constexpr Mode kModes[] = {Mode::kReal,        Mode::kProtected16, Mode::kProtected32,
                           Mode::kProtected32, Mode::kVirtual8086, Mode::kCompatibility,
                           Mode::kLong,        Mode::kLong,        Mode::kLong};

}  // namespace

CpuState make_random_guest(GuestMemory& memory, const CpuidTable& cpuid, Choices& choices) {
  const Mode mode = choices.pick(kModes);
  const Paging paging = paging_of(choices, cpuid, mode);
  const unsigned code_size = choices.percent(90) ? code_size_of(mode) : choices.pick({2u, 4u, 8u});
  choices.fill({memory.host(GuestPhys(0)), kData + kDataBytes});
  write_vector_table(memory);
  write_descriptors(memory, choices, mode);
  write_handlers(memory, choices, code_size);
  const u64 cr3 = write_page_tables(memory, choices, paging);
  std::vector<u8> code(kCodeBytes);
  InstructionMix(choices, code_size).fill(code);
  memory.write(GuestPhys(kCode), code);

  CpuState state;
  for (u64& gpr : state.gpr) gpr = interesting_value(choices);
  state.gpr[x86::kRsp] = choices.percent(80) ? kStack - 8 * choices.below(32) : kStack - choices.below(64);
  state.rip = choices.percent(80) ? kCode + 16 * choices.below(64) : kCode + kPageSize - choices.below(20);
  if (mode == Mode::kReal || mode == Mode::kVirtual8086) state.gpr[x86::kRsp] &= 0xfffe;
  state.rflags = x86::kFlagReserved1 | choices.subset(x86::kArithmeticFlags, 50) |
                 choices.subset(x86::kFlagIf | x86::kFlagDf | x86::kFlagAc | x86::kFlagNt | x86::kFlagTf, 15);
  set_segments(state, mode, mode != Mode::kProtected16 && choices.percent(25));
  set_mode(state, mode, paging, cr3);
  state.cr0 |= choices.subset(x86::kCr0Wp | x86::kCr0Am | x86::kCr0Ts | x86::kCr0Em, 20);
  state.cr4 |= choices.subset(x86::kCr4Vme | x86::kCr4De | x86::kCr4Pge | x86::kCr4Smep | x86::kCr4Smap |
                                  x86::kCr4Umip | x86::kCr4Tsd | x86::kCr4Fsgsbase | x86::kCr4Pcide,
                              20);
  set_tables(state, mode);
  set_debug_registers(state, choices);
  set_x87(state, choices);
  if (choices.percent(60)) spoil(state, choices);
  return state;
}

CpuState make_plain_guest(GuestMemory& memory, Mode mode, std::span<const u8> code) {
  Choices calm = Choices::calm();
  const Paging paging = is_long_mode(mode) ? Paging::kFourLevel : Paging::kOff;
  write_descriptors(memory, calm, mode);
  const u64 cr3 = paging == Paging::kOff ? 0 : write_page_tables(memory, calm, paging);
  write_vector_table(memory);
  for (u64 vector = 0; vector < 256; ++vector) {
    const std::vector<u8> routine = mode == Mode::kLong ? std::vector<u8>{0x48, 0xcf} : std::vector<u8>{0xcf};
    memory.write(GuestPhys(kHandlers + vector * kHandlerBytes), routine);
  }
  memory.write(GuestPhys(kCode), code);
  CpuState state;
  state.rip = kCode;
  state.gpr[x86::kRsp] = mode == Mode::kReal ? 0x7000 : kStack;
  set_segments(state, mode, false);
  set_mode(state, mode, paging, cr3);
  set_tables(state, mode);
  return state;
}

}  // namespace doppel::hostile
