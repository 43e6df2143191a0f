// Register offsets and bits of the local APIC. SDM 3A table 10-1 and 10.5.
#pragma once

#include "base/types.h"

namespace doppel {

// Offsets in the xAPIC page; the x2APIC MSR is 0x800 + offset / 16.
enum ApicRegister : u32 {
  kApicId = 0x20,
  kApicVersion = 0x30,
  kApicTaskPriority = 0x80,
  kApicArbitrationPriority = 0x90,
  kApicProcessorPriority = 0xa0,
  kApicEoi = 0xb0,
  kApicRemoteRead = 0xc0,
  kApicLogicalDestination = 0xd0,
  kApicDestinationFormat = 0xe0,
  kApicSpurious = 0xf0,
  kApicInService = 0x100,
  kApicTriggerMode = 0x180,
  kApicRequest = 0x200,
  kApicVectorSetsEnd = 0x280,
  kApicErrorStatus = 0x280,
  kApicCommandLow = 0x300,
  kApicCommandHigh = 0x310,
  kApicLvtTimer = 0x320,
  kApicLvtThermal = 0x330,
  kApicLvtPerformance = 0x340,
  kApicLvtLint0 = 0x350,
  kApicLvtLint1 = 0x360,
  kApicLvtError = 0x370,
  kApicInitialCount = 0x380,
  kApicCurrentCount = 0x390,
  kApicDivide = 0x3e0,
  kApicSelfIpi = 0x3f0,
};

// Integrated APIC, six LVT entries, no EOI-broadcast suppression. SDM 3A 10.4.8.
inline constexpr u32 kApicVersionValue = 0x00050014;

// Local vector table entries, in register order from kApicLvtTimer.
enum LvtIndex : u8 { kLvtTimer, kLvtThermal, kLvtPerformance, kLvtLint0, kLvtLint1, kLvtError, kLvtCount };
inline constexpr u32 kLvtRemoteIrr = 1u << 14;
inline constexpr u32 kLvtLevel = 1u << 15;
inline constexpr u32 kLvtMasked = 1u << 16;
// Delivery status and remote IRR: writes leave them alone. SDM 3A figure 10-8.
inline constexpr u32 kLvtReadOnly = (1u << 12) | kLvtRemoteIrr;

// Spurious-interrupt vector register. SDM 3A 10.9.
inline constexpr u32 kSpuriousSoftwareEnable = 1u << 8;
inline constexpr u32 kSpuriousWritable = 0x3ff;

// Error status register. SDM 3A 10.5.3.
inline constexpr u32 kErrorSendIllegalVector = 1u << 5;
inline constexpr u32 kErrorReceiveIllegalVector = 1u << 6;
inline constexpr u32 kErrorIllegalRegister = 1u << 7;

// Interrupt command register. SDM 3A 10.6.1.
inline constexpr u32 kIcrDeliveryStatus = 1u << 12;
inline constexpr u32 kIcrReserved = 0xfff32000;
enum class Shorthand : u8 { kNone, kSelf, kAll, kAllButSelf };

// Vectors 0..15 are reserved for exceptions and refused by the APIC. SDM 3A 10.5.2.
inline constexpr u8 kFirstApicVector = 16;

// "To everybody" as a destination, in x2APIC width.
inline constexpr u32 kApicBroadcast = 0xffffffff;

}  // namespace doppel
