// Local APIC: IA32_APIC_BASE, the x2APIC MSRs and IA32_TSC_DEADLINE.
#include "irq/apic_bus.h"
#include "irq/lapic.h"
#include "x86/msr.h"

namespace doppel {
namespace {

// Bits of IA32_APIC_BASE that are reserved at the architectural limit of 52 physical address bits.
constexpr u64 kBaseReserved = 0xfff0'0000'0000'02ff;
constexpr u64 kModeBits = x86::kApicBaseEnable | x86::kApicBaseX2Apic;

// Reserved bits of x2APIC register writes, which raise #GP. Delivery status and remote IRR are read-only, not
// reserved: a guest writes back what it read. SDM 3A 10.12.1.2 and table 10-6.
constexpr u32 reserved_bits(u32 offset) {
  switch (offset) {
    case kApicTaskPriority:
    case kApicSelfIpi:
      return ~0xffu;
    case kApicEoi:
    case kApicErrorStatus:
      return ~0u;
    case kApicSpurious:
      return ~kSpuriousWritable;
    case kApicLvtTimer:
      return ~0x000710ffu;
    case kApicLvtThermal:
    case kApicLvtPerformance:
      return ~0x000117ffu;
    case kApicLvtLint0:
    case kApicLvtLint1:
      return ~0x0001f7ffu;
    case kApicLvtError:
      return ~0x000110ffu;
    case kApicInitialCount:
      return 0;
    case kApicDivide:
      return ~0xbu;
    default:
      return ~0u;
  }
}

// SDM 3A table 10-6: the registers with write access.
constexpr bool is_writable(u32 offset) {
  if (offset >= kApicLvtTimer && offset <= kApicLvtError) return true;
  return offset == kApicTaskPriority || offset == kApicEoi || offset == kApicSpurious ||
         offset == kApicErrorStatus || offset == kApicInitialCount || offset == kApicDivide ||
         offset == kApicSelfIpi;
}

// Registers of the xAPIC page that have no x2APIC form, or cannot be read in it. SDM 3A table 10-6.
constexpr bool is_unreadable(u32 offset) {
  return offset == kApicArbitrationPriority || offset == kApicEoi || offset == kApicRemoteRead ||
         offset == kApicDestinationFormat || offset == kApicCommandHigh;
}

constexpr bool is_x2apic_msr(u32 index) {
  return index >= x86::kMsrX2ApicFirst && index <= x86::kMsrX2ApicLast;
}

}  // namespace

std::optional<u64> LocalApic::read_msr(u32 index) {
  if (index == x86::kMsrApicBase) return apic_base_;
  if (index == x86::kMsrTscDeadline) return timer_.tsc_deadline();
  if (!is_x2apic_msr(index) || !is_x2apic()) return std::nullopt;
  return read_x2apic((index - x86::kMsrX2ApicFirst) << 4);
}

bool LocalApic::write_msr(u32 index, u64 value) {
  if (index == x86::kMsrApicBase) return write_base(value);
  if (index == x86::kMsrTscDeadline) {
    timer_.set_tsc_deadline(value);
    return true;
  }
  if (!is_x2apic_msr(index) || !is_x2apic()) return false;
  return write_x2apic((index - x86::kMsrX2ApicFirst) << 4, value);
}

// SDM 3A 10.12.5 and figure 10-27.
bool LocalApic::write_base(u64 value) {
  if ((value & kBaseReserved) != 0) return false;
  const u64 old_mode = apic_base_ & kModeBits;
  const u64 new_mode = value & kModeBits;
  if (new_mode == x86::kApicBaseX2Apic) return false;        // enabled x2APIC mode of a disabled APIC
  if (old_mode == 0 && new_mode == kModeBits) return false;  // disabled to x2APIC goes by way of xAPIC
  if (old_mode == kModeBits && new_mode == x86::kApicBaseEnable)
    return false;  // and x2APIC back by way of disabled
  apic_base_ = value;
  if (old_mode == new_mode) return true;
  if (new_mode == 0) reset_registers();  // SDM 3A 10.4.3: enabling again is like a power-up
  if (new_mode == kModeBits) {
    // SDM 3A 10.12.5.1: the logical id is derived anew, and the ICR starts empty.
    logical_destination_ = ((id_ >> 4) << 16) | (1u << (id_ & 15));
    command_ = 0;
  }
  cpu_.interrupt_changed();
  return true;
}

std::optional<u64> LocalApic::read_x2apic(u32 offset) {
  if (offset == kApicCommandLow) return command_;
  if (is_unreadable(offset)) return std::nullopt;
  return read_register(offset);
}

bool LocalApic::write_x2apic(u32 offset, u64 value) {
  if (offset == kApicCommandLow) {
    if ((value & kIcrReserved) != 0) return false;
    write_command(value);
    return true;
  }
  if (!is_writable(offset) || (value >> 32) != 0) return false;
  if ((value & reserved_bits(offset)) != 0) return false;
  if (offset == kApicSelfIpi) {
    send_self(static_cast<u8>(value));
    return true;
  }
  return write_register(offset, static_cast<u32>(value));
}

}  // namespace doppel
