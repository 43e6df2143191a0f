// Flow control and shutdown of one vsock connection. virtio 1.2 5.10.6.3 and 5.10.6.6.
#include "devices/vsock_connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace doppel {

VsockConnection::VsockConnection(Side opener, u32 host_port, UniqueFd socket, EventLoop& loop,
                                 std::function<void()> on_ready)
    : opener_(opener),
      host_port_(host_port),
      socket_(std::move(socket)),
      loop_(loop),
      on_ready_(std::move(on_ready)) {}

void VsockConnection::receive(const VsockHeader& header, const DescriptorChain& chain) {
  guest_buffer_size_ = header.buffer_size;
  guest_forwarded_ = header.forwarded;
  // A guest that claims to have more room than it can, or that took what was never sent, gets nothing.
  if (sent_ - guest_forwarded_ > guest_buffer_size_) guest_buffer_size_ = sent_ - guest_forwarded_;
  has_asked_credit_ = has_asked_credit_ && credit() == 0;
  switch (header.operation) {
    case VsockOperation::kResponse:
      receive_response();
      break;
    case VsockOperation::kReset:
      is_finished_ = true;
      break;
    case VsockOperation::kShutdown:
      receive_shutdown(header.flags);
      break;
    case VsockOperation::kData:
      receive_data(header.length, chain);
      break;
    case VsockOperation::kCreditUpdate:
      break;
    case VsockOperation::kCreditRequest:
      owes_credit_ = true;
      break;
    default:
      LOG_GUEST("vsock: operation {} on a connection", static_cast<u16>(header.operation));
      reset();
  }
  update_watch();
}

void VsockConnection::receive_response() {
  if (opener_ != Side::kHost || state_ != State::kOpening || is_opening_due_) return reset();
  state_ = State::kOpen;
  const std::string answer = fmt::format("OK {}\n", host_port_);
  if (write_socket({reinterpret_cast<const u8*>(answer.data()), answer.size()}) != answer.size()) reset();
}

void VsockConnection::receive_data(u32 length, const DescriptorChain& chain) {
  const bool is_allowed = state_ == State::kOpen && (guest_shutdown_ & VsockHeader::kNoSend) == 0 &&
                          length <= kBufferSize - (received_ - forwarded_);
  if (!is_allowed) {
    LOG_GUEST("vsock: {} bytes without connection or credit", length);
    return reset();
  }
  std::vector<u8> data(length);
  chain.read(sizeof(VsockHeader), data);
  received_ += length;
  const std::size_t written = buffer_.empty() ? write_socket(data) : 0;
  forwarded_ += static_cast<u32>(written);
  buffer_.insert(buffer_.end(), data.begin() + static_cast<std::ptrdiff_t>(written), data.end());
}

void VsockConnection::receive_shutdown(u32 flags) {
  guest_shutdown_ |= flags & (VsockHeader::kNoReceive | VsockHeader::kNoSend);
  if ((guest_shutdown_ & VsockHeader::kNoReceive) != 0) {
    ::shutdown(socket_.get(), SHUT_RD);
    has_read_end_ = true;
  }
  if (buffer_.empty()) finish_writing();
}

// All that the guest sent has reached the socket.
void VsockConnection::finish_writing() {
  if ((guest_shutdown_ & VsockHeader::kNoSend) == 0) return;
  ::shutdown(socket_.get(), SHUT_WR);
  // 5.10.6.6.1: a reset confirms that both directions are closed.
  if (has_read_end_) reset();
}

std::size_t VsockConnection::write_socket(std::span<const u8> data) {
  const ssize_t written = ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (written >= 0) return static_cast<std::size_t>(written);
  if (errno != EAGAIN && errno != EINTR) reset();
  return 0;
}

std::size_t VsockConnection::read_socket(std::span<u8> room) {
  const ssize_t size = ::recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
  if (size > 0) return static_cast<std::size_t>(size);
  is_readable_ = false;
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (size < 0) {
    reset();
    return 0;
  }
  has_read_end_ = true;
  // Gone, or only silent? A peer that is gone takes nothing either.
  pollfd state{socket_.get(), 0, 0};
  ::poll(&state, 1, 0);
  shutdown_due_ = VsockHeader::kNoSend | ((state.revents & POLLHUP) != 0 ? VsockHeader::kNoReceive : 0);
  return 0;
}

bool VsockConnection::wants_to_send() const {
  const bool may_read = is_readable_ && !has_read_end_ && (credit() > 0 || !has_asked_credit_);
  return is_reset_due_ || is_opening_due_ || shutdown_due_ != 0 || may_read || is_credit_update_due();
}

std::optional<VsockConnection::Packet> VsockConnection::next(std::span<u8> room) {
  if (is_reset_due_) {
    is_finished_ = true;
    return Packet{VsockOperation::kReset};
  }
  if (is_opening_due_) {
    is_opening_due_ = false;
    if (opener_ == Side::kHost) return Packet{VsockOperation::kRequest};
    state_ = State::kOpen;
    update_watch();
    return Packet{VsockOperation::kResponse};
  }
  if (state_ != State::kOpen) return std::nullopt;
  if (is_readable_ && !has_read_end_ && credit() > 0 && !room.empty()) {
    const std::size_t size = read_socket(room.first(std::min<std::size_t>(room.size(), credit())));
    sent_ += static_cast<u32>(size);
    update_watch();
    if (size > 0) return Packet{VsockOperation::kData, 0, size};
    if (is_reset_due_) return next({});
  }
  if (shutdown_due_ != 0) return Packet{VsockOperation::kShutdown, std::exchange(shutdown_due_, 0)};
  if (is_credit_update_due()) return Packet{VsockOperation::kCreditUpdate};
  if (is_readable_ && credit() == 0 && !std::exchange(has_asked_credit_, true)) {
    return Packet{VsockOperation::kCreditRequest};
  }
  return std::nullopt;
}

void VsockConnection::stamp(VsockHeader& header) {
  header.buffer_size = kBufferSize;
  header.forwarded = forwarded_;
  told_forwarded_ = forwarded_;
  owes_credit_ = false;
}

void VsockConnection::yield() {
  is_readable_ = false;
  update_watch();
}

void VsockConnection::update_watch() {
  short events = 0;
  if (state_ == State::kOpen && !has_read_end_ && !is_readable_) events |= POLLIN;
  if (!buffer_.empty()) events |= POLLOUT;
  // Not even with events of 0 when there is nothing to do: a peer that hung up would be reported for ever.
  if (events == 0 || is_finished_ || is_reset_due_) {
    watch_.reset();
  } else if (watch_ == nullptr) {
    watch_ =
        std::make_unique<FdWatch>(loop_, socket_.get(), events, [this](short ready) { socket_ready(ready); });
  } else {
    watch_->set_events(events);
  }
}

void VsockConnection::socket_ready(short events) {
  if ((events & (POLLOUT | POLLERR)) != 0 && !buffer_.empty()) write_buffer();
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && !has_read_end_) is_readable_ = true;
  update_watch();
  // May remove this connection.
  const auto on_ready = on_ready_;
  on_ready();
}

void VsockConnection::write_buffer() {
  const std::size_t written = write_socket(buffer_);
  forwarded_ += static_cast<u32>(written);
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(written));
  if (buffer_.empty()) finish_writing();
}

}  // namespace doppel
