// NetBackend: the other end of a virtual network card's cable.
#pragma once

#include <sys/uio.h>

#include <span>

#include "base/types.h"
#include "state/state_visitor.h"

namespace doppel {

// The header in front of each frame between card and back end: struct virtio_net_hdr_v1 (virtio 1.2 5.1.6),
// which is also what a tap device with IFF_VNET_HDR and a header size of 12 speaks.
struct NetHeader {
  // flags
  static constexpr u8 kNeedsChecksum = 1;  // the checksum field holds the pseudo-header's sum only
  static constexpr u8 kDataValid = 2;      // to the guest: the checksum is known to be right
  // gso_type
  static constexpr u8 kGsoNone = 0;
  static constexpr u8 kGsoTcp4 = 1;
  static constexpr u8 kGsoUdp = 3;
  static constexpr u8 kGsoTcp6 = 4;
  static constexpr u8 kGsoUdpSegments = 5;

  u8 flags = 0;
  u8 gso_type = kGsoNone;
  u16 header_length = 0;
  u16 gso_size = 0;
  u16 checksum_start = 0;
  u16 checksum_offset = 0;
  u16 buffer_count = 0;  // filled in by the card
};
static_assert(sizeof(NetHeader) == 12);

inline constexpr std::size_t kEthernetHeaderSize = 14;
// An Ethernet header, a VLAN tag and the largest IP packet.
inline constexpr std::size_t kMaxFrameSize = kEthernetHeaderSize + 4 + 65535;

// What one side understands in the NetHeaders of the frames it is given.
struct NetOffloads {
  bool checksum = false;
  bool tso4 = false;
  bool tso6 = false;
  bool ufo = false;
  bool uso = false;

  bool operator==(const NetOffloads&) const = default;
};

// What a back end can do; fixed for its life.
struct NetLimits {
  NetOffloads from_guest = {};  // what it understands
  NetOffloads to_guest = {};    // what it could make use of, when the guest's driver accepts it
  u16 mtu = 0;                  // largest IP packet, if the guest is to be told of one
  unsigned queue_pairs = 1;     // with 1 the card spreads received frames itself
};

// What the guest's driver has set up.
struct NetDriverSettings {
  NetOffloads offloads = {};  // accepted in received frames
  unsigned queue_pairs = 1;   // in use
};

// Takes frames that arrive from outside: the card. Called with the device lock held.
class NetReceiver {
 public:
  virtual ~NetReceiver() = default;
  // False when the guest has no buffer for it: the back end keeps the frame, reads no more and waits for
  // receive_ready(). `frame` is an Ethernet frame without the header, at most kMaxFrameSize bytes.
  virtual bool receive(unsigned queue, const NetHeader& header, std::span<const u8> frame) = 0;
  // Ends a run of receive(): the guest hears of all its frames at once.
  virtual void receive_done() = 0;
  // The cable was plugged or pulled.
  virtual void link_changed(bool is_up) = 0;
};

// Owned by the machine; called with the device lock held.
class NetBackend {
 public:
  virtual ~NetBackend() = default;
  virtual const NetLimits& limits() const = 0;
  virtual bool is_link_up() const = 0;
  // Null: nobody receives; frames are dropped.
  virtual void set_receiver(NetReceiver* receiver) = 0;
  virtual void configure(const NetDriverSettings& settings) = 0;
  // One frame from the guest, in pieces, at most kMaxFrameSize bytes. Dropped when the outside cannot take
  // it.
  virtual void send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) = 0;
  // The guest made buffers available.
  virtual void receive_ready(unsigned queue) = 0;
  // Most back ends have no state: what they hold belongs to the world outside.
  virtual void visit_state(StateVisitor&) {}
  // Bytes of frames that it copied from one place of this process to another so far.
  virtual u64 copied_bytes() const { return 0; }
};

}  // namespace doppel
