// Features, configuration, life and state of the network card.
#include "devices/virtio_net.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "irq/timer_state.h"

namespace doppel {

using namespace virtio_net;

namespace {

constexpr u16 kTransferQueueSize = 256;
constexpr u16 kControlQueueSize = 64;
constexpr u64 kGuestOffloadBits =
    kGuestChecksum | kGuestTso4 | kGuestTso6 | kGuestUfo | kGuestUso4 | kGuestUso6;

u64 features_from_guest(const NetOffloads& offloads) {
  if (!offloads.checksum) return 0;
  return kChecksum | (offloads.tso4 ? kHostTso4 : 0) | (offloads.tso6 ? kHostTso6 : 0) |
         (offloads.ufo ? kHostUfo : 0) | (offloads.uso ? kHostUso : 0);
}

u64 features_to_guest(const NetOffloads& offloads) {
  if (!offloads.checksum) return 0;
  return kGuestChecksum | kControlGuestOffloads | (offloads.tso4 ? kGuestTso4 : 0) |
         (offloads.tso6 ? kGuestTso6 : 0) | (offloads.ufo ? kGuestUfo : 0) |
         (offloads.uso ? kGuestUso4 | kGuestUso6 : 0);
}

}  // namespace

VirtioNet::VirtioNet(const VirtioNetSettings& settings, std::unique_ptr<NetBackend> backend,
                     TimerQueue& timers)
    : settings_(settings),
      backend_(std::move(backend)),
      timers_(timers),
      queue_sizes_(2 * settings.queue_pairs, kTransferQueueSize),
      mac_(settings.mac),
      send_bucket_(settings.send_limit),
      receive_bucket_(settings.receive_limit),
      interrupts_(timers),
      limit_timer_(timers, [this] { limits_passed(); }) {
  VERIFY(settings.queue_pairs >= 1 && settings.queue_pairs <= kMaxQueuePairs);
  queue_sizes_.push_back(kControlQueueSize);
  backend_->set_receiver(this);
}

VirtioNet::~VirtioNet() { backend_->set_receiver(nullptr); }

void VirtioNet::reset() {
  mac_ = settings_.mac;
  queue_pairs_ = 1;
  guest_offloads_ = 0;
  filter_ = {};
  steering_.reset();
  send_bucket_.reset(timers_.now());
  receive_bucket_.reset(timers_.now());
}

u64 VirtioNet::device_features() const {
  const NetLimits& limits = backend_->limits();
  u64 features = kMac | kMergeableBuffers | kStatus | kControlQueue | kControlReceive | kControlReceiveExtra |
                 kControlVlan | kControlMac | kGuestAnnounce;
  features |= features_from_guest(limits.from_guest) | features_to_guest(limits.to_guest);
  if (limits.mtu != 0) features |= kMtu;
  if (settings_.queue_pairs > 1) features |= kMultiQueue;
  return features;
}

std::vector<std::pair<std::string_view, u64>> VirtioNet::counter_values() const {
  return {{"sent_frames", sent_.frames},
          {"sent_bytes", sent_.bytes},
          {"sent_drops", sent_.drops},
          {"received_frames", received_.frames},
          {"received_bytes", received_.bytes},
          {"received_drops", received_.drops},
          {"copied_bytes", copied_ + backend_->copied_bytes()}};
}

u16 VirtioNet::status() const {
  return static_cast<u16>((backend_->is_link_up() ? kStatusLinkUp : 0) |
                          (is_announcing_ ? kStatusAnnounce : 0));
}

void VirtioNet::read_config(u64 offset, std::span<u8> data) {
  const VirtioNetConfigSpace config{.mac = mac_,
                                    .status = status(),
                                    .max_queue_pairs = static_cast<u16>(settings_.queue_pairs),
                                    .mtu = backend_->limits().mtu};
  std::ranges::fill(data, u8(0));
  if (offset >= sizeof(config)) return;
  const std::size_t size = std::min<std::size_t>(data.size(), sizeof(config) - offset);
  std::memcpy(data.data(), reinterpret_cast<const u8*>(&config) + offset, size);
}

void VirtioNet::activate(VirtioHost& host, u64 features) {
  host_ = &host;
  features_ = features;
  interrupts_.start(host);
  queue_pairs_ = 1;  // 5.1.6.5.6: until the driver asks for more
  guest_offloads_ = features & kGuestOffloadBits;
  filter_.start(has(kControlReceive), has(kControlVlan));
  update_backend();
}

void VirtioNet::deactivate() {
  host_ = nullptr;
  features_ = 0;
  is_announcing_ = false;
  interrupts_.stop();
  mac_ = settings_.mac;
  limit_timer_.disarm();
}

// 5.1.2: behind the queues of all pairs, if the driver knows of several.
unsigned VirtioNet::control_index() const { return has(kMultiQueue) ? 2 * settings_.queue_pairs : 2; }

void VirtioNet::update_backend() {
  const auto wants = [this](u64 bits) { return (guest_offloads_ & bits) == bits; };
  const bool has_checksum = wants(kGuestChecksum);
  backend_->configure({.offloads = {.checksum = has_checksum,
                                    .tso4 = has_checksum && wants(kGuestTso4),
                                    .tso6 = has_checksum && wants(kGuestTso6),
                                    .ufo = has_checksum && wants(kGuestUfo),
                                    .uso = has_checksum && wants(kGuestUso4 | kGuestUso6)},
                       .queue_pairs = queue_pairs_});
}

void VirtioNet::queue_notified(unsigned index) {
  if (index == control_index() && has(kControlQueue)) return run_control_commands();
  if (index / 2 >= queue_pairs_) return;
  if (index % 2 == 0) {
    backend_->receive_ready(index / 2);
  } else {
    send_frames(index / 2);
  }
}

void VirtioNet::link_changed(bool) {
  if (host_ != nullptr && has(kStatus)) host_->notify_config();
}

bool VirtioNet::announce() {
  if (host_ == nullptr || !has(kGuestAnnounce) || !has(kStatus)) return false;
  is_announcing_ = true;
  host_->notify_config();
  return true;
}

void VirtioNet::visit_state(StateVisitor& visitor) {
  visitor.field("permanent_mac", settings_.mac);
  visitor.field("mac", mac_);
  visitor.field("queue_pairs", queue_pairs_);
  visitor.field("guest_offloads", guest_offloads_);
  visitor.field("is_announcing", is_announcing_);
  filter_.visit_state(visitor);
  visitor.begin("send_bucket");
  send_bucket_.visit_state(visitor);
  visitor.end();
  visitor.begin("receive_bucket");
  receive_bucket_.visit_state(visitor);
  visitor.end();
  visit_timer(visitor, "limit_timer", limit_timer_);
  interrupts_.visit_state(visitor, settings_.queue_pairs);
  backend_->visit_state(visitor);
  if (!visitor.is_loading()) return;
  guest_offloads_ &= features_;
  if (queue_pairs_ == 0 || queue_pairs_ > settings_.queue_pairs) {
    queue_pairs_ = 1;
    visitor.reject("more queue pairs than the network card has");
  }
  is_announce_due_ = true;
  update_backend();
}

void VirtioNet::resume() {
  is_paused_ = false;
  if (host_ == nullptr) return;
  // Elsewhere the link may be in another state, and the network has to learn the way here.
  if (is_announce_due_ && !announce() && has(kStatus)) host_->notify_config();
  is_announce_due_ = false;
  limits_passed();
}

}  // namespace doppel
