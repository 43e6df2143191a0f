// The registers GDB sees: their numbers, their places in the target description, and their bytes.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/debug_command.h"

namespace doppel::gdb {

// Where a register's value comes from; `Register::index` says which of several.
enum class Source : u8 {
  kGeneral,
  kRip,
  kFlags,
  kSelector,
  kX87,
  kX87State,  // in the order of GDB's fctrl .. fop
  kXmm,
  kMxcsr,
  kYmmHigh,
  kSegmentBase,
  kKernelGsBase,
  kControl,
  kEfer,
  kDebug,
  kTableBase,   // GDTR, IDTR
  kTableLimit,  // the same
  kSystemSelector,
  kSystemBase,  // LDTR, TR
};

struct Register {
  std::string name;
  unsigned bits;
  std::string_view type;  // of the target description
  std::string_view feature;
  Source source;
  unsigned index = 0;

  std::size_t bytes() const { return bits / 8; }
};

// In the order of GDB's numbers. The names and features are those GDB knows for amd64 (GDB manual, G.5.8),
// and one of our own for system registers.
std::span<const Register> registers();

// Little-endian.
std::vector<u8> read_register(const DebugRegisters& values, const Register& which);
// False when it cannot be changed, or not to this: what belongs to a descriptor, and control registers that
// switch modes. `bytes` has the register's size.
bool write_register(DebugRegisters& values, const Register& which, std::span<const u8> bytes);

// The document for qXfer:features:read:target.xml.
const std::string& target_description();

}  // namespace doppel::gdb
