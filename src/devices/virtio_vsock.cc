// Packets between queues and connections.
#include "devices/virtio_vsock.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "net/unix_socket.h"

namespace doppel {
namespace {

constexpr unsigned kReceiveQueue = 0;
constexpr unsigned kTransmitQueue = 1;
constexpr unsigned kEventQueue = 2;

}  // namespace

Result<std::unique_ptr<VirtioVsock>> VirtioVsock::create(const VsockConfig& config, EventLoop& loop) {
  std::unique_ptr<VirtioVsock> device(new VirtioVsock(config, loop));
  auto on_connect = [self = device.get()](u32 port, UniqueFd socket) {
    self->connect_guest(port, std::move(socket));
  };
  device->listener_ = TRY(VsockListener::create(config.path, loop, on_connect));
  return device;
}

VirtioVsock::VirtioVsock(const VsockConfig& config, EventLoop& loop)
    : config_(config), loop_(loop), scratch_(kVsockMaxPayload) {}

void VirtioVsock::read_config(u64 offset, std::span<u8> data) {
  const u64 cid = config_.guest_cid;
  std::ranges::fill(data, u8(0));
  if (offset >= sizeof(cid)) return;
  std::memcpy(data.data(), reinterpret_cast<const u8*>(&cid) + offset,
              std::min<std::size_t>(data.size(), sizeof(cid) - offset));
}

void VirtioVsock::activate(VirtioHost& host, u64) { host_ = &host; }

void VirtioVsock::deactivate() {
  host_ = nullptr;
  connections_.clear();
  stray_resets_.clear();
  is_reset_event_due_ = false;
}

void VirtioVsock::visit_state(StateVisitor& visitor) {
  visitor.field("is_reset_event_due", is_reset_event_due_);
  if (!visitor.is_loading()) return;
  connections_.clear();
  stray_resets_.clear();
  is_loaded_ = true;
}

void VirtioVsock::resume() {
  if (host_ == nullptr) return;
  is_reset_event_due_ = is_reset_event_due_ || std::exchange(is_loaded_, false);
  send_event();
  pump();
}

void VirtioVsock::queue_notified(unsigned index) {
  if (index == kEventQueue) return send_event();
  pump();
}

// Both ways: packets of the guest make some for it, and buffers for these let more of its packets be taken.
void VirtioVsock::pump() {
  take_packets();
  send_packets();
}

void VirtioVsock::send_event() {
  if (!is_reset_event_due_) return;
  VirtQueue& queue = host_->queue(kEventQueue);
  const std::optional<DescriptorChain> chain = queue.pop();
  if (!chain) return;
  const bool is_written = chain->write_value(0, kVsockEventTransportReset);
  queue.push(*chain, is_written ? sizeof(kVsockEventTransportReset) : 0);
  host_->notify_queue(kEventQueue);
  is_reset_event_due_ = false;
}

void VirtioVsock::connect_guest(u32 port, UniqueFd socket) {
  if (host_ == nullptr || connections_.size() >= kMaxConnections) return;
  do {
    ++last_port_;
  } while (connections_.contains({last_port_, port}));
  add(VsockConnection::Side::kHost, {last_port_, port}, std::move(socket));
  pump();
}

void VirtioVsock::add(VsockConnection::Side opener, const Ports& ports, UniqueFd socket) {
  connections_[ports] =
      std::make_unique<VsockConnection>(opener, ports.host, std::move(socket), loop_, [this] { pump(); });
}

void VirtioVsock::take_packets() {
  VirtQueue& queue = host_->queue(kTransmitQueue);
  bool has_used = false;
  // Answers to what has no connection are kept in a short list; when it is full, packets wait in the queue.
  for (unsigned budget = 2 * queue.size(); budget > 0 && stray_resets_.size() < kMaxStrayResets; --budget) {
    const std::optional<DescriptorChain> chain = queue.pop();
    if (!chain) break;
    take_packet(*chain);
    queue.push(*chain, 0);
    has_used = true;
  }
  if (has_used) host_->notify_queue(kTransmitQueue);
}

void VirtioVsock::take_packet(const DescriptorChain& chain) {
  const std::optional<VsockHeader> header = chain.read_value<VsockHeader>(0);
  if (!header || header->length > kVsockMaxPayload ||
      header->length > chain.readable_size() - sizeof(*header)) {
    LOG_GUEST("vsock: packet with an impossible length");
    return;
  }
  // 5.10.6.4: nobody else is there.
  if (header->source_cid != config_.guest_cid || header->destination_cid != kVsockHostCid) return;
  const Ports ports{header->destination_port, header->source_port};
  const auto found = connections_.find(ports);
  if (header->type == kVsockStream && found != connections_.end()) {
    found->second->receive(*header, chain);
    if (found->second->is_finished()) connections_.erase(found);
  } else if (header->type == kVsockStream && header->operation == VsockOperation::kRequest) {
    open_from_guest(ports);
    const auto opened = connections_.find(ports);
    // Takes note of the guest's credit.
    if (opened != connections_.end()) {
      VsockHeader credit = *header;
      credit.operation = VsockOperation::kCreditUpdate;
      opened->second->receive(credit, chain);
    }
  } else if (header->operation != VsockOperation::kReset) {
    stray_resets_.push_back(ports);
  }
}

void VirtioVsock::open_from_guest(const Ports& ports) {
  const std::string path = fmt::format("{}_{}", config_.path, ports.host);
  UniqueFd socket;
  if (connections_.size() < kMaxConnections && is_unix_path(path)) socket = connect_unix(path);
  if (socket.is_valid()) return add(VsockConnection::Side::kGuest, ports, std::move(socket));
  stray_resets_.push_back(ports);
}

void VirtioVsock::send_packets() {
  const VirtQueue& queue = host_->queue(kReceiveQueue);
  unsigned budget = 2 * queue.size();
  bool has_more = send_stray_resets();
  while (has_more && budget > 0) has_more = send_round(budget);
  // Others get their turn; the event loop comes back for the rest.
  if (budget == 0) {
    for (auto& [ports, connection] : connections_) connection->yield();
  }
  if (std::exchange(has_sent_, false)) host_->notify_queue(kReceiveQueue);
}

// False when there are no buffers left.
bool VirtioVsock::send_stray_resets() {
  VirtQueue& queue = host_->queue(kReceiveQueue);
  while (!stray_resets_.empty()) {
    const std::optional<DescriptorChain> chain = queue.pop();
    if (!chain) return false;
    write_packet(*chain, stray_resets_.front(), {.operation = VsockOperation::kReset}, {});
    stray_resets_.pop_front();
  }
  return true;
}

// One packet of each connection that has one, from the one whose turn it is. False when nothing was sent or
// buffers ran out.
bool VirtioVsock::send_round(unsigned& budget) {
  bool has_sent = false;
  bool has_buffers = true;
  auto entry = connections_.lower_bound(next_);
  for (std::size_t count = connections_.size(); count > 0 && budget > 0; --count) {
    if (entry == connections_.end()) entry = connections_.begin();
    next_ = entry->first;
    if (entry->second->wants_to_send() && send_from(entry->first, *entry->second, has_buffers)) {
      has_sent = true;
      --budget;
    }
    if (!has_buffers) return false;
    entry = entry->second->is_finished() ? connections_.erase(entry) : std::next(entry);
  }
  return has_sent;
}

bool VirtioVsock::send_from(const Ports& ports, VsockConnection& connection, bool& has_buffers) {
  VirtQueue& queue = host_->queue(kReceiveQueue);
  const std::optional<DescriptorChain> chain = queue.pop();
  has_buffers = chain.has_value();
  if (!chain) return false;
  const u64 room = chain->writable_size() - std::min<u64>(chain->writable_size(), sizeof(VsockHeader));
  const std::span<u8> payload = std::span(scratch_).first(std::min<u64>(room, scratch_.size()));
  const auto packet = connection.next(payload);
  if (!packet) {
    queue.undo_pop(*chain);
    return false;
  }
  VsockHeader header{.operation = packet->operation, .flags = packet->flags};
  connection.stamp(header);
  write_packet(*chain, ports, header, payload.first(packet->size));
  return true;
}

void VirtioVsock::write_packet(const DescriptorChain& chain, const Ports& ports, VsockHeader header,
                               std::span<const u8> payload) {
  header.source_cid = kVsockHostCid;
  header.destination_cid = config_.guest_cid;
  header.source_port = ports.host;
  header.destination_port = ports.guest;
  header.length = static_cast<u32>(payload.size());
  // A buffer too small for the header is the driver's loss.
  std::size_t written = chain.write(0, {reinterpret_cast<const u8*>(&header), sizeof(header)});
  written += chain.write(sizeof(header), payload);
  host_->queue(kReceiveQueue).push(chain, static_cast<u32>(written));
  has_sent_ = true;
}

}  // namespace doppel
