// Filtering by address and VLAN.
#include "devices/receive_filter.h"

#include <algorithm>

namespace doppel {
namespace {

constexpr std::size_t kAddressSize = 6;
constexpr u16 kMaxVlan = 4096;

bool contains(std::span<const u8> table, std::span<const u8> address) {
  for (std::size_t i = 0; i + kAddressSize <= table.size(); i += kAddressSize) {
    if (std::ranges::equal(table.subspan(i, kAddressSize), address)) return true;
  }
  return false;
}

}  // namespace

void ReceiveFilter::start(bool has_modes, bool has_vlans) {
  *this = {};
  modes_[kPromiscuous] = has_modes ? 0 : 1;
  has_vlans_ = has_vlans;
}

bool ReceiveFilter::passes(const MacAddress& own, std::span<const u8> frame) const {
  if (frame.size() < 14) return false;
  return (modes_[kPromiscuous] != 0 || passes_address(own, frame.first(kAddressSize))) && passes_vlan(frame);
}

bool ReceiveFilter::passes_address(const MacAddress& own, std::span<const u8> address) const {
  if (std::ranges::all_of(address, [](u8 byte) { return byte == 0xff; })) return modes_[kNoBroadcast] == 0;
  const bool is_multicast = (address[0] & 1) != 0;
  if (modes_[is_multicast ? kNoMulticast : kNoUnicast] != 0) return false;
  if (modes_[is_multicast ? kAllMulticast : kAllUnicast] != 0) return true;
  if (!is_multicast && std::ranges::equal(address, own)) return true;
  return overflows_[is_multicast ? 1 : 0] != 0 || contains(tables_[is_multicast ? 1 : 0], address);
}

bool ReceiveFilter::passes_vlan(std::span<const u8> frame) const {
  const bool is_tagged = frame.size() >= 16 && frame[12] == 0x81 && frame[13] == 0x00;
  if (!has_vlans_ || !is_tagged) return true;
  const unsigned vlan = (frame[14] & 0x0fu) << 8 | frame[15];
  return (vlans_[vlan / 8] >> (vlan % 8) & 1) != 0;
}

void ReceiveFilter::set_tables(std::span<const u8> unicast, bool too_many_unicast,
                               std::span<const u8> multicast, bool too_many_multicast) {
  tables_[0].assign(unicast.begin(), unicast.end());
  tables_[1].assign(multicast.begin(), multicast.end());
  overflows_ = {too_many_unicast ? u8(1) : u8(0), too_many_multicast ? u8(1) : u8(0)};
}

void ReceiveFilter::set_vlan(u16 vlan, bool is_on) {
  if (vlan >= kMaxVlan) return;
  const u8 bit = static_cast<u8>(1 << (vlan % 8));
  u8& byte = vlans_[vlan / 8];
  byte = static_cast<u8>(is_on ? byte | bit : byte & ~bit);
}

void ReceiveFilter::visit_state(StateVisitor& visitor) {
  visitor.begin("filter");
  visitor.field("modes", modes_);
  visitor.field("overflows", overflows_);
  visitor.blob("unicast", tables_[0], kMaxTable * kAddressSize);
  visitor.blob("multicast", tables_[1], kMaxTable * kAddressSize);
  visitor.field("has_vlans", has_vlans_);
  visitor.field("vlans", vlans_);
  visitor.end();
}

}  // namespace doppel
