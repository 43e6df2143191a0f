// The debugger's connection: waiting, reading, answering.
#include "front/gdb/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <tuple>

#include "base/log.h"
#include "front/gdb/listen.h"

namespace doppel::gdb {
namespace {

// A peer that does not read its answers gets no more of them.
constexpr std::size_t kMaxOutput = 8 * kMaxPayload;

}  // namespace

Result<std::unique_ptr<GdbServer>> GdbServer::create(std::string_view address) {
  ListeningSocket socket = TRY(listen_at(address));
  UniqueFd wake_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_fd.is_valid()) return fail("--gdb: eventfd: {}", std::strerror(errno));
  return std::unique_ptr<GdbServer>(new GdbServer(std::move(socket.fd), std::move(wake_fd),
                                                  std::move(socket.address), std::move(socket.path)));
}

GdbServer::GdbServer(UniqueFd listener, UniqueFd wake_fd, std::string address, std::string path)
    : listener_(std::move(listener)),
      wake_fd_(std::move(wake_fd)),
      address_(std::move(address)),
      path_(std::move(path)) {}

GdbServer::~GdbServer() {
  stop();
  if (!path_.empty()) std::ignore = ::unlink(path_.c_str());
}

void GdbServer::start(DebugPort port) {
  port_ = std::move(port);
  thread_ = std::thread([this] { run(); });
}

void GdbServer::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  const u64 one = 1;
  std::ignore = ::write(wake_fd_.get(), &one, sizeof(one));
  thread_.join();
}

void GdbServer::stopped(const DebugStop& stop) {
  {
    const std::lock_guard lock(mutex_);
    stops_.push_back(stop);
  }
  const u64 one = 1;
  std::ignore = ::write(wake_fd_.get(), &one, sizeof(one));
}

void GdbServer::run() {
  while (wait()) {
    // In this order: a stop that was reported before the next packet came belongs before its answer.
    deliver_stops();
    if (session_ == nullptr) {
      accept();
    } else {
      if (output_.size() < kMaxOutput) receive();
      flush();
    }
  }
  deliver_stops();
  flush();
  connection_.reset();
  session_.reset();
}

// False: to be stopped.
bool GdbServer::wait() {
  const bool has_session = session_ != nullptr;
  pollfd waits[2] = {{wake_fd_.get(), POLLIN, 0},
                     {has_session ? connection_.get() : listener_.get(), POLLIN, 0}};
  if (has_session && output_.size() >= kMaxOutput) waits[1].events = 0;
  if (has_session && !output_.empty()) waits[1].events |= POLLOUT;
  std::ignore = ::poll(waits, 2, -1);
  u64 count;
  std::ignore = ::read(wake_fd_.get(), &count, sizeof(count));
  const std::lock_guard lock(mutex_);
  return !is_stopping_;
}

void GdbServer::deliver_stops() {
  std::vector<DebugStop> stops;
  {
    const std::lock_guard lock(mutex_);
    stops.swap(stops_);
  }
  for (const DebugStop& stop : stops) {
    if (session_ != nullptr) finish(session_->stopped(stop));
  }
}

void GdbServer::accept() {
  connection_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection_.is_valid()) return;
  // Packets are small and answered one by one; has no effect, and need not, on a unix socket.
  const int on = 1;
  ::setsockopt(connection_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (const Result<void> paused = port_(PauseForDebug{}); !paused) {
    LOG_WARNING("gdb: {}", paused.error().message);
    connection_.reset();
    return;
  }
  reader_ = {};
  output_.clear();
  last_packet_.clear();
  acknowledges_ = true;
  is_closing_ = false;
  session_ = std::make_unique<Session>(port_, [this](std::string_view payload) { send(payload); });
}

void GdbServer::receive() {
  u8 buffer[4096];
  const ssize_t got = ::recv(connection_.get(), buffer, sizeof(buffer), 0);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return close();
  if (got < 0) return;
  std::span<const u8> bytes(buffer, static_cast<std::size_t>(got));
  Arrival arrival;
  while (!is_closing_ && reader_.next(bytes, arrival)) take(arrival);
}

void GdbServer::take(const Arrival& arrival) {
  if (const auto* packet = std::get_if<Packet>(&arrival)) {
    if (acknowledges_) output_ += '+';
    return finish(session_->handle(packet->payload));
  }
  if (std::holds_alternative<Interruption>(arrival)) return session_->interrupt();
  if (std::holds_alternative<DamagedPacket>(arrival) && acknowledges_) output_ += '-';
  if (std::holds_alternative<Rejection>(arrival) && acknowledges_ && output_.size() < kMaxOutput)
    output_ += last_packet_;
}

void GdbServer::send(std::string_view payload) {
  last_packet_ = encode_packet(payload);
  output_ += last_packet_;
}

void GdbServer::finish(After after) {
  if (after == After::kStopAcknowledging) acknowledges_ = false;
  if (after == After::kClose) is_closing_ = true;
}

void GdbServer::flush() {
  if (session_ == nullptr) return;
  while (!output_.empty()) {
    const ssize_t sent = ::send(connection_.get(), output_.data(), output_.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent <= 0) return close();
    output_.erase(0, static_cast<std::size_t>(sent));
  }
  if (is_closing_) close();
}

void GdbServer::close() {
  if (!is_closing_) std::ignore = port_(DetachDebugger{});
  connection_.reset();
  session_.reset();
  output_.clear();
}

}  // namespace doppel::gdb
