// ReceiveFilter: which frames a network card passes to its driver.
#pragma once

#include <span>
#include <vector>

#include "devices/virtio_net_layout.h"
#include "state/state_visitor.h"

namespace doppel {

// The driver's commands of virtio 1.2 5.1.6.5.1 to 5.1.6.5.3. Everything passes at first; owned by a card.
class ReceiveFilter {
 public:
  // 5.1.6.5.1: the commands of the class, in order.
  enum Mode : u8 {
    kPromiscuous,
    kAllMulticast,
    kAllUnicast,
    kNoMulticast,
    kNoUnicast,
    kNoBroadcast,
    kModeCount
  };

  // Tables longer than this let all addresses of their kind pass.
  static constexpr std::size_t kMaxTable = 64;

  // What holds when a driver starts: one that cannot set a filter gets all frames.
  void start(bool has_modes, bool has_vlans);

  bool passes(const MacAddress& own, std::span<const u8> frame) const;

  void set_mode(u8 mode, bool is_on) { modes_[mode] = is_on ? 1 : 0; }
  // Concatenated addresses.
  void set_tables(std::span<const u8> unicast, bool too_many_unicast, std::span<const u8> multicast,
                  bool too_many_multicast);
  void set_vlan(u16 vlan, bool is_on);

  void visit_state(StateVisitor& visitor);

 private:
  bool passes_address(const MacAddress& own, std::span<const u8> address) const;
  bool passes_vlan(std::span<const u8> frame) const;

  std::array<u8, kModeCount> modes_{};
  std::array<u8, 2> overflows_{};          // a table was too long: unicast, multicast
  std::array<std::vector<u8>, 2> tables_;  // the same
  bool has_vlans_ = false;                 // only chosen VLANs pass
  std::array<u8, 512> vlans_{};            // a bit for each
};

}  // namespace doppel
