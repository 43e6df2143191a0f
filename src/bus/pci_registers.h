// Offsets and bits of PCI configuration space that more than one file needs.
#pragma once

#include "base/types.h"

// PCI Local Bus Specification 3.0, chapter 6; capability identifiers from its appendix H.
namespace doppel::pci {

inline constexpr u64 kConfigSize = 4096;       // PCI Express 4.0, 7.2.2: extended configuration space
inline constexpr u64 kLegacyConfigSize = 256;  // what mechanism 1 reaches

inline constexpr u64 kVendorId = 0x00;
inline constexpr u64 kDeviceId = 0x02;
inline constexpr u64 kCommand = 0x04;
inline constexpr u64 kStatus = 0x06;
inline constexpr u64 kRevision = 0x08;
inline constexpr u64 kClass = 0x09;
inline constexpr u64 kCacheLineSize = 0x0c;
inline constexpr u64 kLatencyTimer = 0x0d;
inline constexpr u64 kHeaderType = 0x0e;
inline constexpr u64 kBar0 = 0x10;
inline constexpr unsigned kBarCount = 6;
inline constexpr u64 kSubsystemVendorId = 0x2c;
inline constexpr u64 kSubsystemId = 0x2e;
inline constexpr u64 kCapabilityPointer = 0x34;
inline constexpr u64 kInterruptLine = 0x3c;
inline constexpr u64 kInterruptPin = 0x3d;
inline constexpr u64 kFirstCapability = 0x40;

// Command register, 6.2.2.
inline constexpr u16 kCommandIo = 1 << 0;
inline constexpr u16 kCommandMemory = 1 << 1;
inline constexpr u16 kCommandBusMaster = 1 << 2;
inline constexpr u16 kCommandParityResponse = 1 << 6;
inline constexpr u16 kCommandSystemError = 1 << 8;
inline constexpr u16 kCommandInterruptDisable = 1 << 10;

// Status register, 6.2.3.
inline constexpr u16 kStatusInterrupt = 1 << 3;
inline constexpr u16 kStatusCapabilities = 1 << 4;

inline constexpr u8 kHeaderMultiFunction = 1 << 7;

// Base address registers, 6.2.5.1.
inline constexpr u32 kBarIo = 1 << 0;
inline constexpr u32 kBarMemory64 = 2 << 1;
inline constexpr u32 kBarPrefetchable = 1 << 3;
inline constexpr u32 kBarMemoryFlags = 0xf;
inline constexpr u32 kBarIoFlags = 0x3;

inline constexpr u8 kCapabilityMsi = 0x05;
inline constexpr u8 kCapabilityVendor = 0x09;
inline constexpr u8 kCapabilityMsix = 0x11;

}  // namespace doppel::pci
