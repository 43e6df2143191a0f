// Framing, reconnecting and back pressure of a Unix socket link.
#include "net/socket_link.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "net/frame.h"
#include "net/unix_socket.h"

namespace doppel {
namespace {

constexpr Nanoseconds kRetryTime = std::chrono::seconds(1);
constexpr std::size_t kIncomingSize = 256 * 1024;
constexpr int kSocketBuffer = 1024 * 1024;  // the host may give less
constexpr unsigned kReadsPerRun = 4;        // before others get their turn

u32 load_length(const u8* bytes) {
  u32 value;
  std::memcpy(&value, bytes, sizeof(value));
  return __builtin_bswap32(value);
}

}  // namespace

Result<std::unique_ptr<SocketLink>> SocketLink::create(const SocketLinkConfig& config, EventLoop& loop,
                                                       Inputs& inputs) {
  if (!is_unix_path(config.path)) {
    return fail_usage("--net socket: '{}' is too long for a socket's path", config.path);
  }
  std::unique_ptr<SocketLink> link(new SocketLink(config, loop, inputs));
  if (config.is_listening) {
    link->listener_ = TRY(listen_unix("--net socket", config.path));
  } else {
    link->try_connect();
  }
  loop.add(*link);
  return link;
}

SocketLink::SocketLink(const SocketLinkConfig& config, EventLoop& loop, Inputs& inputs)
    : config_(config), loop_(loop), inputs_(inputs), incoming_(kIncomingSize) {
  limits_.from_guest = {.checksum = true};
  limits_.mtu = config.mtu;
}

SocketLink::~SocketLink() {
  loop_.remove(*this);
  if (listener_.is_valid()) ::unlink(config_.path.c_str());
}

void SocketLink::try_connect() {
  next_try_ = inputs_.now() + kRetryTime;
  UniqueFd peer = connect_unix(config_.path);
  if (peer.is_valid()) take_peer(std::move(peer));
}

void SocketLink::take_peer(UniqueFd peer) {
  ::setsockopt(peer.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof(kSocketBuffer));
  peer_ = std::move(peer);
  LOG_INFO("--net socket: connected at {}", config_.path);
  if (receiver_ != nullptr) receiver_->link_changed(true);
}

void SocketLink::lose_peer(std::string_view why) {
  if (!peer_.is_valid()) return;
  LOG_INFO("--net socket: link at {} is down: {}", config_.path, why);
  peer_.reset();
  incoming_start_ = incoming_end_ = 0;
  is_guest_full_ = false;
  unsent_.clear();
  next_try_ = inputs_.now() + kRetryTime;
  if (receiver_ != nullptr) receiver_->link_changed(false);
}

void SocketLink::set_receiver(NetReceiver* receiver) {
  receiver_ = receiver;
  is_guest_full_ = false;
  loop_.wake();
}

void SocketLink::configure(const NetDriverSettings&) {}

void SocketLink::send(unsigned, const NetHeader& header, std::span<const iovec> frame) {
  if (!peer_.is_valid()) return;
  if (!gather_frame(frame, outgoing_) || outgoing_.empty()) return;
  copied_ += outgoing_.size();
  if (!complete_checksum(header, outgoing_)) return;
  const u32 length = __builtin_bswap32(static_cast<u32>(outgoing_.size()));
  u8 prefix[kPrefixSize];
  std::memcpy(prefix, &length, sizeof(length));
  std::size_t sent = 0;
  if (unsent_.empty()) {
    iovec pieces[] = {{prefix, sizeof(prefix)}, {outgoing_.data(), outgoing_.size()}};
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = 2;
    const ssize_t result = ::sendmsg(peer_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    // A failure is seen again, and dealt with, on the event loop.
    sent = result > 0 ? static_cast<std::size_t>(result) : 0;
    if (sent == sizeof(prefix) + outgoing_.size()) return;
  }
  if (unsent_.size() + outgoing_.size() > kMaxUnsent) {
    ++dropped_;
    return;
  }
  // The rest of the frame, or all of it.
  const std::size_t prefix_sent = std::min(sent, sizeof(prefix));
  unsent_.insert(unsent_.end(), prefix + prefix_sent, prefix + sizeof(prefix));
  unsent_.insert(unsent_.end(), outgoing_.begin() + static_cast<std::ptrdiff_t>(sent - prefix_sent),
                 outgoing_.end());
  loop_.wake();
}

void SocketLink::receive_ready(unsigned) {
  if (!is_guest_full_) return;
  is_guest_full_ = false;
  deliver_frames();
  if (!is_guest_full_) loop_.wake();
}

int SocketLink::prepare(std::vector<pollfd>& waits) {
  if (peer_.is_valid()) {
    short events = 0;
    if (!is_guest_full_) events |= POLLIN;
    if (!unsent_.empty()) events |= POLLOUT;
    // With nothing to do, not even the peer's end is of interest: it would be reported again and again.
    if (events != 0) waits.push_back({peer_.get(), events, 0});
    return -1;
  }
  if (listener_.is_valid()) {
    waits.push_back({listener_.get(), POLLIN, 0});
    return -1;
  }
  const Nanoseconds rest = std::max(next_try_ - inputs_.now(), Nanoseconds(0));
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(rest).count());
}

void SocketLink::dispatch(std::span<const pollfd> waits) {
  if (!peer_.is_valid()) {
    if (listener_.is_valid()) {
      UniqueFd peer = accept_unix(listener_.get());
      if (peer.is_valid()) take_peer(std::move(peer));
    } else if (inputs_.now() >= next_try_) {
      try_connect();
    }
    return;
  }
  if (waits.empty() || waits[0].fd != peer_.get()) return;
  if ((waits[0].revents & POLLOUT) != 0) write_unsent();
  if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !is_guest_full_) read_peer();
}

void SocketLink::write_unsent() {
  const ssize_t sent = ::send(peer_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return lose_peer(std::strerror(errno));
  if (sent > 0) unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
}

void SocketLink::read_peer() {
  for (unsigned i = 0; i < kReadsPerRun && peer_.is_valid() && !is_guest_full_; ++i) {
    const ssize_t size =
        ::recv(peer_.get(), incoming_.data() + incoming_end_, incoming_.size() - incoming_end_, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0) return lose_peer(std::strerror(errno));
    if (size == 0) return lose_peer("closed by the peer");
    incoming_end_ += static_cast<std::size_t>(size);
    if (!deliver_frames()) return lose_peer("the peer sent what is no frame");
  }
}

// Hands over all complete frames, as far as the guest has room. False when a length cannot be.
bool SocketLink::deliver_frames() {
  while (incoming_end_ - incoming_start_ >= kPrefixSize) {
    const u8* start = incoming_.data() + incoming_start_;
    const u32 length = load_length(start);
    if (length == 0 || length > kMaxFrameSize) return false;
    if (incoming_end_ - incoming_start_ - kPrefixSize < length) break;
    if (receiver_ != nullptr && !receiver_->receive(0, {}, {start + kPrefixSize, length})) {
      is_guest_full_ = true;
      break;
    }
    incoming_start_ += kPrefixSize + length;
  }
  // What is left is less than a frame, unless the guest is full: there is always room to read on.
  if (!is_guest_full_) {
    std::memmove(incoming_.data(), incoming_.data() + incoming_start_, incoming_end_ - incoming_start_);
    incoming_end_ -= incoming_start_;
    incoming_start_ = 0;
  }
  if (receiver_ != nullptr) receiver_->receive_done();
  return true;
}

}  // namespace doppel
