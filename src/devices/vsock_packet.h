// Packets and events of virtio socket devices. virtio 1.2 sections 5.10.4 and 5.10.6.
#pragma once

#include "base/types.h"

namespace doppel {

inline constexpr u64 kVsockHostCid = 2;
inline constexpr u16 kVsockStream = 1;
inline constexpr u32 kVsockMaxPayload = 64 * 1024;
inline constexpr u32 kVsockEventTransportReset = 0;

enum class VsockOperation : u16 {
  kInvalid = 0,
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};

struct [[gnu::packed]] VsockHeader {
  // flags of kShutdown: what the sender will not do any more
  static constexpr u32 kNoReceive = 1;
  static constexpr u32 kNoSend = 2;

  u64 source_cid = 0;
  u64 destination_cid = 0;
  u32 source_port = 0;
  u32 destination_port = 0;
  u32 length = 0;
  u16 type = kVsockStream;
  VsockOperation operation = VsockOperation::kInvalid;
  u32 flags = 0;
  u32 buffer_size = 0;  // of the sender, for the connection
  u32 forwarded = 0;    // bytes that the sender took out of it so far
};
static_assert(sizeof(VsockHeader) == 44);

}  // namespace doppel
