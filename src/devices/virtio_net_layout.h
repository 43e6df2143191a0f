// Feature bits, configuration and control commands of virtio network devices. virtio 1.2 section 5.1.
#pragma once

#include "net/mac_address.h"

namespace doppel {

namespace virtio_net {

// 5.1.3.
inline constexpr u64 kChecksum = u64{1} << 0;
inline constexpr u64 kGuestChecksum = u64{1} << 1;
inline constexpr u64 kControlGuestOffloads = u64{1} << 2;
inline constexpr u64 kMtu = u64{1} << 3;
inline constexpr u64 kMac = u64{1} << 5;
inline constexpr u64 kGuestTso4 = u64{1} << 7;
inline constexpr u64 kGuestTso6 = u64{1} << 8;
inline constexpr u64 kGuestUfo = u64{1} << 10;
inline constexpr u64 kHostTso4 = u64{1} << 11;
inline constexpr u64 kHostTso6 = u64{1} << 12;
inline constexpr u64 kHostUfo = u64{1} << 14;
inline constexpr u64 kMergeableBuffers = u64{1} << 15;
inline constexpr u64 kStatus = u64{1} << 16;
inline constexpr u64 kControlQueue = u64{1} << 17;
inline constexpr u64 kControlReceive = u64{1} << 18;
inline constexpr u64 kControlVlan = u64{1} << 19;
inline constexpr u64 kControlReceiveExtra = u64{1} << 20;
inline constexpr u64 kGuestAnnounce = u64{1} << 21;
inline constexpr u64 kMultiQueue = u64{1} << 22;
inline constexpr u64 kControlMac = u64{1} << 23;
inline constexpr u64 kGuestUso4 = u64{1} << 54;
inline constexpr u64 kGuestUso6 = u64{1} << 55;
inline constexpr u64 kHostUso = u64{1} << 56;

// 5.1.4: bits of `status`.
inline constexpr u16 kStatusLinkUp = 1;
inline constexpr u16 kStatusAnnounce = 2;

// 5.1.6.5: classes and commands on the control queue, and the answers.
inline constexpr u8 kAnswerOk = 0;
inline constexpr u8 kAnswerError = 1;
inline constexpr u8 kClassReceive = 0;
inline constexpr u8 kClassMac = 1;
inline constexpr u8 kClassVlan = 2;
inline constexpr u8 kClassAnnounce = 3;
inline constexpr u8 kClassMultiQueue = 4;
inline constexpr u8 kClassGuestOffloads = 5;
inline constexpr u8 kMacTableSet = 0;
inline constexpr u8 kMacAddressSet = 1;
inline constexpr u8 kVlanAdd = 0;
inline constexpr u8 kVlanRemove = 1;

}  // namespace virtio_net

// 5.1.4; what follows is not offered.
struct VirtioNetConfigSpace {
  MacAddress mac{};
  u16 status = 0;
  u16 max_queue_pairs = 0;
  u16 mtu = 0;
};
static_assert(sizeof(VirtioNetConfigSpace) == 12);

}  // namespace doppel
