// Serving libslirp: its configuration, descriptors, timers and frames.
#include "net/user_network.h"

#include <arpa/inet.h>
#include <slirp/libslirp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "net/frame.h"

namespace doppel {
namespace {

// libslirp's TCP has no larger one.
constexpr u64 kLargestWindow = 65535;
// More bytes than acknowledgements are.
constexpr u64 kLeastData = 512;

in_addr address_of(u32 address) { return {htonl(address)}; }

sockaddr_in socket_address(u32 address, u16 port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_addr = address_of(address);
  result.sin_port = htons(port);
  return result;
}

std::string address_text(u32 address) {
  char text[INET_ADDRSTRLEN] = {};
  const in_addr value = address_of(address);
  ::inet_ntop(AF_INET, &value, text, sizeof(text));
  return text;
}

short poll_events(int slirp_events) {
  int events = 0;
  if ((slirp_events & SLIRP_POLL_IN) != 0) events |= POLLIN;
  if ((slirp_events & SLIRP_POLL_OUT) != 0) events |= POLLOUT;
  if ((slirp_events & SLIRP_POLL_PRI) != 0) events |= POLLPRI;
  return static_cast<short>(events);
}

int slirp_events(short events) {
  int result = 0;
  if ((events & POLLIN) != 0) result |= SLIRP_POLL_IN;
  if ((events & POLLOUT) != 0) result |= SLIRP_POLL_OUT;
  if ((events & POLLPRI) != 0) result |= SLIRP_POLL_PRI;
  if ((events & (POLLERR | POLLNVAL)) != 0) result |= SLIRP_POLL_ERR;
  if ((events & POLLHUP) != 0) result |= SLIRP_POLL_HUP;
  return result;
}

}  // namespace

struct UserNetwork::Callbacks {
  static UserNetwork& self(void* opaque) { return *static_cast<UserNetwork*>(opaque); }

  static ssize_t send_packet(const void* data, std::size_t size, void* opaque) {
    self(opaque).deliver({static_cast<const u8*>(data), size});
    return static_cast<ssize_t>(size);
  }
  static void guest_error(const char* message, void*) { LOG_GUEST("user network: {}", message); }
  static i64 clock(void* opaque) { return self(opaque).inputs_.now().count(); }

  static void* new_timer(SlirpTimerCb callback, void* callback_opaque, void* opaque) {
    return self(opaque).timers_.emplace_back(std::make_unique<Timer>(callback, callback_opaque)).get();
  }
  static void free_timer(void* timer, void* opaque) {
    std::erase_if(self(opaque).timers_, [timer](const auto& entry) { return entry.get() == timer; });
  }
  static void arm_timer(void* timer, i64 due_ms, void* opaque) {
    static_cast<Timer*>(timer)->due_ms = due_ms;
    self(opaque).wake();
  }

  static void descriptor_changed(int, void*) {}
  static void notify(void* opaque) { self(opaque).wake(); }

  static int add_wait(int fd, int events, void* opaque) {
    UserNetwork& network = self(opaque);
    short wanted = poll_events(events);
    // While the guest has no room, what arrives stays in the host's sockets.
    if (!network.backlog_.is_empty()) wanted &= static_cast<short>(~POLLIN);
    network.waits_->push_back({fd, wanted, 0});
    return static_cast<int>(network.waits_->size() - 1 - network.first_wait_);
  }
  static int wait_result(int index, void* opaque) {
    const std::span<const pollfd> results = self(opaque).results_;
    const auto position = static_cast<std::size_t>(index);
    return index < 0 || position >= results.size() ? 0 : slirp_events(results[position].revents);
  }

  static constexpr SlirpCb kTable = {
      .send_packet = send_packet,
      .guest_error = guest_error,
      .clock_get_ns = clock,
      .timer_new = new_timer,
      .timer_free = free_timer,
      .timer_mod = arm_timer,
      .register_poll_fd = descriptor_changed,
      .unregister_poll_fd = descriptor_changed,
      .notify = notify,
      .init_completed = nullptr,
      .timer_new_opaque = nullptr,
  };
};

Result<std::unique_ptr<UserNetwork>> UserNetwork::create(const UserNetworkConfig& config, EventLoop& loop,
                                                         Inputs& inputs) {
  std::unique_ptr<UserNetwork> network(new UserNetwork(config, loop, inputs));
  TRY_VOID(network->open(config));
  return network;
}

UserNetwork::UserNetwork(const UserNetworkConfig& config, EventLoop& loop, Inputs& inputs)
    : loop_(loop), inputs_(inputs) {
  // libslirp takes IP packets of any size with complete checksums: a segmentation offload is a frame that
  // happens to be large. Its own frames always carry right checksums.
  limits_.from_guest = {.checksum = true, .tso4 = true, .tso6 = true};
  limits_.to_guest = {.checksum = true};
  limits_.mtu = config.mtu;
}

Result<void> UserNetwork::open(const UserNetworkConfig& config) {
  SlirpConfig settings{};
  settings.version = 1;
  settings.restricted = config.is_restricted ? 1 : 0;
  settings.in_enabled = true;
  settings.vnetwork = address_of(config.network);
  settings.vnetmask = address_of(config.netmask);
  settings.vhost = address_of(config.host != 0 ? config.host : config.network + 2);
  settings.vdhcp_start = address_of(config.dhcp_start != 0 ? config.dhcp_start : config.network + 15);
  settings.vnameserver = address_of(config.dns != 0 ? config.dns : config.network + 3);
  settings.in6_enabled = true;
  ::inet_pton(AF_INET6, "fec0::", &settings.vprefix_addr6);
  settings.vprefix_len = 64;
  ::inet_pton(AF_INET6, "fec0::2", &settings.vhost6);
  ::inet_pton(AF_INET6, "fec0::3", &settings.vnameserver6);
  settings.if_mtu = config.mtu;
  settings.if_mru = config.mtu;
  slirp_ = ::slirp_new(&settings, &Callbacks::kTable, this);
  if (slirp_ == nullptr) return fail("--net user: libslirp refuses to start");
  for (const HostForward& forward : config.forwards) TRY_VOID(add_forward(forward));
  loop_.add(*this);
  return {};
}

Result<void> UserNetwork::add_forward(const HostForward& forward) {
  const sockaddr_in host = socket_address(forward.host_address, forward.host_port);
  const sockaddr_in guest = socket_address(forward.guest_address, forward.guest_port);
  errno = 0;
  const int result = ::slirp_add_hostxfwd(slirp_, reinterpret_cast<const sockaddr*>(&host), sizeof(host),
                                          reinterpret_cast<const sockaddr*>(&guest), sizeof(guest),
                                          forward.is_udp ? SLIRP_HOSTFWD_UDP : 0);
  if (result == 0) return {};
  return fail("--net user: cannot forward {} port {} of {}: {}", forward.is_udp ? "udp" : "tcp",
              forward.host_port, address_text(forward.host_address),
              errno != 0 ? std::strerror(errno) : "the port cannot be bound");
}

UserNetwork::~UserNetwork() {
  loop_.remove(*this);
  receiver_ = nullptr;
  if (slirp_ != nullptr) ::slirp_cleanup(slirp_);
}

void UserNetwork::set_receiver(NetReceiver* receiver) {
  receiver_ = receiver;
  backlog_.clear();
  wake();
}

void UserNetwork::configure(const NetDriverSettings& settings) {
  guest_trusts_checksums_ = settings.offloads.checksum;
}

void UserNetwork::send(unsigned, const NetHeader& header, std::span<const iovec> frame) {
  if (!gather_frame(frame, outgoing_) || outgoing_.size() < kEthernetHeaderSize) return;
  gathered_ += outgoing_.size();
  if (!complete_checksum(header, outgoing_)) {
    LOG_GUEST("user network: checksum field outside the frame");
    return;
  }
  delivered_ = 0;
  ::slirp_input(slirp_, outgoing_.data(), static_cast<int>(outgoing_.size()));
  if (delivered_ >= kLeastData && delivered_ + limits_.mtu <= kLargestWindow) serve_sockets();
  if (receiver_ != nullptr) receiver_->receive_done();
  // It may have opened sockets to wait for.
  wake();
}

void UserNetwork::receive_ready(unsigned) {
  if (backlog_.is_empty() || receiver_ == nullptr) return;
  backlog_.retry(*receiver_);
  receiver_->receive_done();
  if (backlog_.is_empty()) wake();
}

void UserNetwork::deliver(std::span<const u8> frame) {
  if (receiver_ == nullptr || frame.size() > kMaxFrameSize) return;
  const NetHeader header{.flags = guest_trusts_checksums_ ? NetHeader::kDataValid : u8(0)};
  backlog_.deliver(*receiver_, header, frame);
  delivered_ += frame.size();
}

// What the event loop does in a turn, without waiting. Its own turn, if it is in one, has nothing left to do.
void UserNetwork::serve_sockets() {
  are_waits_current_ = false;
  ready_.clear();
  u32 timeout = 0;
  waits_ = &ready_;
  first_wait_ = 0;
  ::slirp_pollfds_fill(slirp_, &timeout, Callbacks::add_wait, this);
  waits_ = nullptr;
  if (::poll(ready_.data(), ready_.size(), 0) <= 0) return;
  results_ = ready_;
  ::slirp_pollfds_poll(slirp_, 0, Callbacks::wait_result, this);
  results_ = {};
}

void UserNetwork::wake() {
  if (is_wake_pending_) return;
  is_wake_pending_ = true;
  loop_.wake();
}

i64 UserNetwork::now_ms() { return inputs_.now().count() / 1'000'000; }

int UserNetwork::prepare(std::vector<pollfd>& waits) {
  is_wake_pending_ = false;
  are_waits_current_ = true;
  waits_ = &waits;
  first_wait_ = waits.size();
  u32 timeout = 1'000'000;
  ::slirp_pollfds_fill(slirp_, &timeout, Callbacks::add_wait, this);
  waits_ = nullptr;
  i64 wanted = timeout;
  for (const auto& timer : timers_) {
    if (timer->due_ms >= 0) wanted = std::min(wanted, std::max<i64>(timer->due_ms - now_ms(), 0));
  }
  return static_cast<int>(wanted);
}

void UserNetwork::dispatch(std::span<const pollfd> waits) {
  if (are_waits_current_) {
    results_ = waits;
    ::slirp_pollfds_poll(slirp_, 0, Callbacks::wait_result, this);
    results_ = {};
  }
  run_timers();
  if (receiver_ != nullptr) receiver_->receive_done();
}

void UserNetwork::run_timers() {
  const i64 now = now_ms();
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    Timer& timer = *timers_[i];
    if (timer.due_ms < 0 || timer.due_ms > now) continue;
    timer.due_ms = -1;
    timer.callback(timer.opaque);
  }
}

}  // namespace doppel
