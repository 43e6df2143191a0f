// NetBackend: the other end of a virtual network card's cable.
#pragma once

#include <sys/uio.h>

#include <span>

#include "base/types.h"

namespace doppel {

// The header in front of each frame between card and back end: struct virtio_net_hdr_v1 (virtio 1.2 5.1.6),
// which is also what a tap device with IFF_VNET_HDR and a header size of 12 speaks.
struct NetHeader {
  u8 flags = 0;
  u8 gso_type = 0;
  u16 header_length = 0;
  u16 gso_size = 0;
  u16 checksum_start = 0;
  u16 checksum_offset = 0;
  u16 buffer_count = 0;  // filled in by the card
};
static_assert(sizeof(NetHeader) == 12);

// What a back end understands in NetHeaders from the guest and may put into those to it.
struct NetOffloads {
  bool checksum = false;
  bool tso4 = false;
  bool tso6 = false;
  bool ufo = false;
};

// Takes frames that arrive from outside: the card. Called with the device lock held.
class NetReceiver {
 public:
  virtual ~NetReceiver() = default;
  // False when the guest has no buffer for it: the back end keeps the frame, reads no more and waits for
  // receive_ready(). `frame` is an Ethernet frame without the header.
  virtual bool receive(const NetHeader& header, std::span<const u8> frame) = 0;
  // The cable was plugged or pulled.
  virtual void link_changed(bool is_up) = 0;
};

// Owned by the machine; called with the device lock held.
class NetBackend {
 public:
  virtual ~NetBackend() = default;
  virtual NetOffloads offloads() const = 0;
  // What the guest's driver accepts in received frames; before the first frame is received.
  virtual void set_guest_offloads(const NetOffloads& offloads) = 0;
  // Null: nobody receives; frames are dropped.
  virtual void set_receiver(NetReceiver* receiver) = 0;
  // One frame from the guest, in pieces. Dropped when the outside cannot take it.
  virtual void send(const NetHeader& header, std::span<const iovec> frame) = 0;
  // The guest made buffers available.
  virtual void receive_ready() = 0;
};

}  // namespace doppel
