// RingLayout: where a virtqueue's three areas lie and which ring features the driver accepted.
#pragma once

#include "memory/address.h"

namespace doppel {

// As the driver wrote it to the transport. virtio 1.2 section 2.6: the descriptor area, the driver area
// (available ring, or the driver's event suppression structure) and the device area (used ring, or the
// device's structure).
struct RingLayout {
  u16 size = 0;
  GuestPhys descriptors;
  GuestPhys driver;
  GuestPhys device;
  bool is_packed = false;
  bool has_event_index = false;
  bool has_indirect = false;
};

// One 16-byte descriptor, of a split ring or of either kind's indirect table. 2.7.5.
struct SplitDescriptor {
  u64 address;
  u32 length;
  u16 flags;
  u16 next;
};
static_assert(sizeof(SplitDescriptor) == 16);

// 2.8.13.
struct PackedDescriptor {
  u64 address;
  u32 length;
  u16 id;
  u16 flags;
};
static_assert(sizeof(PackedDescriptor) == 16);

inline constexpr u16 kDescriptorNext = 1;
inline constexpr u16 kDescriptorWrite = 2;
inline constexpr u16 kDescriptorIndirect = 4;
inline constexpr u16 kPackedAvailable = 1 << 7;
inline constexpr u16 kPackedUsed = 1 << 15;

// The largest queue either format has: 2.7 and 2.8.10.1.
inline constexpr u16 kMaxQueueSize = 32768;

// What a look at the ring for the next chain found.
enum class RingStatus : u8 { kEmpty, kChain, kBroken };

}  // namespace doppel
