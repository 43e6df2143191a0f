// Feature bits and device status bits that all virtio devices share. virtio 1.2 sections 2.1 and 6.
#pragma once

#include "base/types.h"

namespace doppel {

inline constexpr u64 kVirtioFIndirectDescriptors = u64{1} << 28;
inline constexpr u64 kVirtioFEventIndex = u64{1} << 29;
inline constexpr u64 kVirtioFVersion1 = u64{1} << 32;
inline constexpr u64 kVirtioFRingPacked = u64{1} << 34;
inline constexpr u64 kVirtioFRingReset = u64{1} << 40;

// Which of these one device of a machine offers beside VERSION_1.
struct VirtioOptions {
  bool has_indirect = true;
  bool has_event_index = true;
  bool has_packed = false;
};

namespace virtio_status {
inline constexpr u8 kAcknowledge = 1;
inline constexpr u8 kDriver = 2;
inline constexpr u8 kDriverOk = 4;
inline constexpr u8 kFeaturesOk = 8;
inline constexpr u8 kNeedsReset = 64;
inline constexpr u8 kFailed = 128;
}  // namespace virtio_status

// Bits of the interrupt status. 4.1.4.5, 4.2.2.
inline constexpr u8 kInterruptQueue = 1;
inline constexpr u8 kInterruptConfig = 2;

}  // namespace doppel
