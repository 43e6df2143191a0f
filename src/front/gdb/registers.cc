// Reading and writing registers as GDB lays them out.
#include "front/gdb/registers.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"

namespace doppel::gdb {
namespace {

// GDB's order of general and segment registers.
constexpr x86::Gpr kGeneralOrder[] = {x86::kRax, x86::kRbx, x86::kRcx, x86::kRdx, x86::kRsi, x86::kRdi,
                                      x86::kRbp, x86::kRsp, x86::kR8,  x86::kR9,  x86::kR10, x86::kR11,
                                      x86::kR12, x86::kR13, x86::kR14, x86::kR15};
constexpr std::string_view kGeneralNames[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
                                              "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr x86::SegmentIndex kSegmentOrder[] = {x86::kCs, x86::kSs, x86::kDs, x86::kEs, x86::kFs, x86::kGs};
constexpr std::string_view kSegmentNames[] = {"cs", "ss", "ds", "es", "fs", "gs"};
constexpr std::string_view kX87Names[] = {"fctrl", "fstat", "ftag",  "fiseg",
                                          "fioff", "foseg", "fooff", "fop"};
constexpr std::string_view kCore = "org.gnu.gdb.i386.core";
constexpr std::string_view kSse = "org.gnu.gdb.i386.sse";
constexpr std::string_view kAvx = "org.gnu.gdb.i386.avx";
constexpr std::string_view kSegments = "org.gnu.gdb.i386.segments";
constexpr std::string_view kSystem = "org.doppel.x86.system";

void add_core(std::vector<Register>& all) {
  for (unsigned i = 0; i < std::size(kGeneralNames); ++i) {
    const bool is_pointer = kGeneralOrder[i] == x86::kRbp || kGeneralOrder[i] == x86::kRsp;
    all.push_back({std::string(kGeneralNames[i]), 64, is_pointer ? "data_ptr" : "int64", kCore,
                   Source::kGeneral, kGeneralOrder[i]});
  }
  all.push_back({"rip", 64, "code_ptr", kCore, Source::kRip});
  all.push_back({"eflags", 32, "i386_eflags", kCore, Source::kFlags});
  for (unsigned i = 0; i < std::size(kSegmentNames); ++i)
    all.push_back({std::string(kSegmentNames[i]), 32, "int32", kCore, Source::kSelector, kSegmentOrder[i]});
  for (unsigned i = 0; i < 8; ++i)
    all.push_back({"st" + std::to_string(i), 80, "i387_ext", kCore, Source::kX87, i});
  for (unsigned i = 0; i < std::size(kX87Names); ++i)
    all.push_back({std::string(kX87Names[i]), 32, "int", kCore, Source::kX87State, i});
}

void add_vectors(std::vector<Register>& all) {
  for (unsigned i = 0; i < 16; ++i)
    all.push_back({"xmm" + std::to_string(i), 128, "vec128", kSse, Source::kXmm, i});
  all.push_back({"mxcsr", 32, "i386_mxcsr", kSse, Source::kMxcsr});
  for (unsigned i = 0; i < 16; ++i)
    all.push_back({"ymm" + std::to_string(i) + "h", 128, "uint128", kAvx, Source::kYmmHigh, i});
}

void add_system(std::vector<Register>& all) {
  all.push_back({"fs_base", 64, "int64", kSegments, Source::kSegmentBase, x86::kFs});
  all.push_back({"gs_base", 64, "int64", kSegments, Source::kSegmentBase, x86::kGs});
  all.push_back({"k_gs_base", 64, "int64", kSystem, Source::kKernelGsBase});
  for (const unsigned index : {0u, 2u, 3u, 4u, 8u})
    all.push_back({"cr" + std::to_string(index), 64, "int64", kSystem, Source::kControl, index});
  all.push_back({"efer", 64, "int64", kSystem, Source::kEfer});
  for (const unsigned index : {x86::kCs, x86::kSs, x86::kDs, x86::kEs}) {
    const auto* const place = std::ranges::find(kSegmentOrder, index);
    const std::string name(kSegmentNames[place - std::begin(kSegmentOrder)]);
    all.push_back({name + "_base", 64, "int64", kSystem, Source::kSegmentBase, index});
  }
  for (const unsigned index : {0u, 1u, 2u, 3u, 6u, 7u})
    all.push_back({"dr" + std::to_string(index), 64, "int64", kSystem, Source::kDebug, index});
  for (unsigned i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "gdtr" : "idtr";
    all.push_back({name + "_base", 64, "int64", kSystem, Source::kTableBase, i});
    all.push_back({name + "_limit", 32, "int32", kSystem, Source::kTableLimit, i});
  }
  for (unsigned i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "ldtr" : "tr";
    all.push_back({name, 32, "int32", kSystem, Source::kSystemSelector, i});
    all.push_back({name + "_base", 64, "int64", kSystem, Source::kSystemBase, i});
  }
}

// The full tag word from the abridged one. SDM 1 8.1.7, 10.5.1.1: 0 valid, 1 zero, 2 special, 3 empty.
u32 full_tags(const FxsaveArea& fx) {
  const unsigned top = (fx.fsw >> 11) & 7;
  u32 tags = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    u32 tag = 3;
    if (bit(fx.ftw, physical)) {
      const std::array<u8, 16>& st = fx.st[(physical - top) & 7];
      u64 mantissa;
      std::memcpy(&mantissa, st.data(), sizeof(mantissa));
      const unsigned exponent = (st[8] | st[9] << 8) & 0x7fff;
      const bool is_normal = exponent != 0 && exponent != 0x7fff && bit(mantissa, 63);
      tag = is_normal ? 0 : (exponent == 0 && mantissa == 0 ? 1 : 2);
    }
    tags |= tag << (2 * physical);
  }
  return tags;
}

u8 abridged_tags(u64 tags) {
  u8 result = 0;
  for (unsigned i = 0; i < 8; ++i) result |= static_cast<u8>((bits(tags, 2 * i, 2) != 3 ? 1 : 0) << i);
  return result;
}

u64 read_x87_state(const FxsaveArea& fx, unsigned index) {
  const u64 values[] = {fx.fcw,
                        fx.fsw,
                        full_tags(fx),
                        bits(fx.fip, 32, 16),
                        fx.fip & 0xffffffff,
                        bits(fx.fdp, 32, 16),
                        fx.fdp & 0xffffffff,
                        fx.fop};
  return values[index];
}

void write_x87_state(FxsaveArea& fx, unsigned index, u64 value) {
  constexpr u64 kLow = 0xffffffff;
  switch (index) {
    case 0:
      fx.fcw = static_cast<u16>(value);
      break;
    case 1:
      fx.fsw = static_cast<u16>(value);
      break;
    case 2:
      fx.ftw = abridged_tags(value);
      break;
    case 3:
      fx.fip = (fx.fip & kLow) | (value & 0xffff) << 32;
      break;
    case 4:
      fx.fip = (fx.fip & ~kLow) | (value & kLow);
      break;
    case 5:
      fx.fdp = (fx.fdp & kLow) | (value & 0xffff) << 32;
      break;
    case 6:
      fx.fdp = (fx.fdp & ~kLow) | (value & kLow);
      break;
    default:
      fx.fop = value & 0x7ff;
      break;
  }
}

u64 read_control(const DebugRegisters& values, unsigned index) {
  switch (index) {
    case 0:
      return values.cpu.cr0;
    case 2:
      return values.cpu.cr2;
    case 3:
      return values.cpu.cr3;
    case 4:
      return values.cpu.cr4;
    default:
      return values.cr8;
  }
}

u64 read_debug(const CpuState& cpu, unsigned index) {
  if (index < 4) return cpu.dr[index];
  return index == 6 ? cpu.dr6 : cpu.dr7;
}

// Registers of up to 64 bits.
u64 read_number(const DebugRegisters& values, const Register& which) {
  const CpuState& cpu = values.cpu;
  switch (which.source) {
    case Source::kGeneral:
      return cpu.gpr[which.index];
    case Source::kRip:
      return cpu.rip;
    case Source::kFlags:
      return cpu.rflags;
    case Source::kSelector:
      return cpu.segment(which.index).selector;
    case Source::kX87State:
      return read_x87_state(cpu.fx, which.index);
    case Source::kMxcsr:
      return cpu.fx.mxcsr;
    case Source::kSegmentBase:
      return cpu.segment(which.index).base;
    case Source::kKernelGsBase:
      return cpu.kernel_gs_base;
    case Source::kControl:
      return read_control(values, which.index);
    case Source::kEfer:
      return cpu.efer;
    case Source::kDebug:
      return read_debug(cpu, which.index);
    case Source::kTableBase:
      return which.index == 0 ? cpu.gdtr.base : cpu.idtr.base;
    case Source::kTableLimit:
      return which.index == 0 ? cpu.gdtr.limit : cpu.idtr.limit;
    case Source::kSystemSelector:
      return which.index == 0 ? cpu.ldtr.selector : cpu.tr.selector;
    case Source::kSystemBase:
      return which.index == 0 ? cpu.ldtr.base : cpu.tr.base;
    case Source::kX87:
    case Source::kXmm:
    case Source::kYmmHigh:
      break;
  }
  return 0;
}

// Where the bytes of a register of more than 64 bits are; nullptr for the others.
u8* wide_bytes(CpuState& cpu, const Register& which) {
  switch (which.source) {
    case Source::kX87:
      return cpu.fx.st[which.index].data();
    case Source::kXmm:
      return reinterpret_cast<u8*>(cpu.ymm[which.index].qword.data());
    case Source::kYmmHigh:
      return reinterpret_cast<u8*>(cpu.ymm[which.index].qword.data() + 2);
    default:
      return nullptr;
  }
}

bool is_canonical(u64 value) { return static_cast<u64>(static_cast<i64>(value << 7) >> 7) == value; }

bool write_base(u64& base, u64 value) {
  if (!is_canonical(value)) return false;
  base = value;
  return true;
}

bool write_control(DebugRegisters& values, unsigned index, u64 value) {
  if (index == 2) {
    values.cpu.cr2 = value;
  } else if (index == 8) {
    if (value > 15) return false;
    values.cr8 = value;
  } else {
    return read_control(values, index) == value;
  }
  return true;
}

bool write_number(DebugRegisters& values, const Register& which, u64 value) {
  // What the guest may set by POPF at CPL 0, IF and TF included. SDM 2B "POPF".
  constexpr u64 kFlags = 0x3f7fd5;
  CpuState& cpu = values.cpu;
  switch (which.source) {
    case Source::kGeneral:
      cpu.gpr[which.index] = value;
      return true;
    case Source::kRip:
      cpu.rip = value;
      return true;
    case Source::kFlags:
      if ((value & x86::kFlagVm) != (cpu.rflags & x86::kFlagVm)) return false;
      cpu.rflags = (value & kFlags) | x86::kFlagReserved1;
      return true;
    case Source::kX87State:
      write_x87_state(cpu.fx, which.index, value);
      return true;
    case Source::kMxcsr:
      // Other bits would fault when the register is loaded. SDM 1 11.6.6.
      if ((value & ~u64{0xffff}) != 0) return false;
      cpu.fx.mxcsr = static_cast<u32>(value);
      return true;
    case Source::kSegmentBase:
      if (which.index != x86::kFs && which.index != x86::kGs) break;
      return write_base(cpu.segment(which.index).base, value);
    case Source::kKernelGsBase:
      return write_base(cpu.kernel_gs_base, value);
    case Source::kControl:
      return write_control(values, which.index, value);
    default:
      break;
  }
  return read_number(values, which) == value;  // read-only
}

}  // namespace

std::span<const Register> registers() {
  static const std::vector<Register> kAll = [] {
    std::vector<Register> all;
    add_core(all);
    add_vectors(all);
    add_system(all);
    return all;
  }();
  return kAll;
}

std::vector<u8> read_register(const DebugRegisters& values, const Register& which) {
  std::vector<u8> bytes(which.bytes());
  CpuState& cpu = const_cast<CpuState&>(values.cpu);  // only read through
  if (const u8* wide = wide_bytes(cpu, which)) {
    std::memcpy(bytes.data(), wide, bytes.size());
  } else {
    const u64 value = read_number(values, which);
    std::memcpy(bytes.data(), &value, bytes.size());
  }
  return bytes;
}

bool write_register(DebugRegisters& values, const Register& which, std::span<const u8> bytes) {
  VERIFY(bytes.size() == which.bytes());
  if (u8* wide = wide_bytes(values.cpu, which)) {
    std::memcpy(wide, bytes.data(), bytes.size());
    return true;
  }
  u64 value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return write_number(values, which, value);
}

}  // namespace doppel::gdb
