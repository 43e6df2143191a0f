// The network card's control queue. virtio 1.2 section 5.1.6.5.
#include <cstring>

#include "base/log.h"
#include "devices/virtio_net.h"

namespace doppel {

using namespace virtio_net;

namespace {

constexpr std::size_t kHeadSize = 2;  // class and command
constexpr u64 kAddressSize = 6;

// One address table of a command: its length, then the addresses.
struct AddressTable {
  std::vector<u8> addresses = {};
  bool is_too_long = false;
  u64 end = 0;  // offset of what follows
};

std::optional<AddressTable> read_table(const DescriptorChain& chain, u64 offset) {
  const std::optional<u32> count = chain.read_value<u32>(offset);
  if (!count) return std::nullopt;
  AddressTable table{.end = offset + sizeof(u32) + *count * kAddressSize};
  if (table.end > chain.readable_size()) return std::nullopt;
  table.is_too_long = *count > ReceiveFilter::kMaxTable;
  if (table.is_too_long) return table;
  table.addresses.resize(*count * kAddressSize);
  chain.read(offset + sizeof(u32), table.addresses);
  return table;
}

template <class T>
std::optional<T> value_of(std::span<const u8> data) {
  T value;
  if (data.size() < sizeof(value)) return std::nullopt;
  std::memcpy(&value, data.data(), sizeof(value));
  return value;
}

}  // namespace

void VirtioNet::run_control_commands() {
  VirtQueue& queue = host_->queue(control_index());
  bool has_used = false;
  for (unsigned budget = queue.size(); budget > 0; --budget) {
    const std::optional<DescriptorChain> chain = queue.pop();
    if (!chain) break;
    const bool is_done = run_command(*chain);
    if (!is_done) LOG_GUEST("virtio-net: control command refused");
    const bool is_told = chain->write_value(0, is_done ? kAnswerOk : kAnswerError);
    queue.push(*chain, is_told ? 1 : 0);
    has_used = true;
  }
  if (has_used) host_->notify_queue(control_index());
}

bool VirtioNet::run_command(const DescriptorChain& chain) {
  std::array<u8, kHeadSize + sizeof(u64)> bytes{};
  const std::size_t size = chain.read(0, bytes);
  if (size < kHeadSize) return false;
  const u8 command = bytes[1];
  const std::span<const u8> data = std::span(bytes).first(size).subspan(kHeadSize);
  switch (bytes[0]) {
    case kClassReceive:
      return set_mode(command, data);
    case kClassMac:
      return set_mac(command, chain, data);
    case kClassVlan:
      return set_vlan(command, data);
    case kClassAnnounce:
      is_announcing_ = is_announcing_ && command != 0;
      return command == 0 && has(kGuestAnnounce);
    case kClassMultiQueue:
      return set_queue_pairs(command, data);
    case kClassGuestOffloads:
      return set_guest_offloads(command, data);
    default:
      return false;
  }
}

bool VirtioNet::set_mode(u8 command, std::span<const u8> data) {
  const u64 needed = command <= ReceiveFilter::kAllMulticast ? kControlReceive : kControlReceiveExtra;
  if (!has(needed) || command >= ReceiveFilter::kModeCount || data.empty()) return false;
  filter_.set_mode(command, data[0] != 0);
  return true;
}

bool VirtioNet::set_mac(u8 command, const DescriptorChain& chain, std::span<const u8> data) {
  if (command == kMacTableSet) return has(kControlReceive) && set_mac_table(chain);
  if (command != kMacAddressSet || !has(kControlMac) || data.size() < mac_.size()) return false;
  std::memcpy(mac_.data(), data.data(), mac_.size());
  return true;
}

bool VirtioNet::set_mac_table(const DescriptorChain& chain) {
  const std::optional<AddressTable> unicast = read_table(chain, kHeadSize);
  if (!unicast) return false;
  const std::optional<AddressTable> multicast = read_table(chain, unicast->end);
  if (!multicast) return false;
  filter_.set_tables(unicast->addresses, unicast->is_too_long, multicast->addresses, multicast->is_too_long);
  return true;
}

bool VirtioNet::set_vlan(u8 command, std::span<const u8> data) {
  const std::optional<u16> vlan = value_of<u16>(data);
  if (!has(kControlVlan) || !vlan || command > kVlanRemove || *vlan >= 4096) return false;
  filter_.set_vlan(*vlan, command == kVlanAdd);
  return true;
}

bool VirtioNet::set_queue_pairs(u8 command, std::span<const u8> data) {
  const std::optional<u16> pairs = value_of<u16>(data);
  if (!has(kMultiQueue) || command != 0 || !pairs || *pairs == 0 || *pairs > settings_.queue_pairs)
    return false;
  queue_pairs_ = *pairs;
  steering_.reset();
  update_backend();
  return true;
}

bool VirtioNet::set_guest_offloads(u8 command, std::span<const u8> data) {
  const std::optional<u64> offloads = value_of<u64>(data);
  if (!has(kControlGuestOffloads) || command != 0 || !offloads || (*offloads & ~features_) != 0) return false;
  guest_offloads_ = *offloads;
  update_backend();
  return true;
}

}  // namespace doppel
