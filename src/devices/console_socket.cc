// Clients of a console port, and the bytes between them and the guest.
#include "devices/console_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <tuple>

#include "devices/virtio_console.h"
#include "net/unix_socket.h"

namespace doppel {
namespace {

constexpr std::size_t kReadSize = 16 * kKiB;

}  // namespace

Result<std::unique_ptr<ConsoleSocket>> ConsoleSocket::create(const std::string& path, EventLoop& loop) {
  UniqueFd listener = TRY(listen_unix("--console", path));
  std::unique_ptr<ConsoleSocket> socket(new ConsoleSocket(path, std::move(listener), loop));
  loop.add(*socket);
  return socket;
}

ConsoleSocket::~ConsoleSocket() {
  loop_.remove(*this);
  std::ignore = ::unlink(path_.c_str());
}

void ConsoleSocket::connect_port(VirtioConsole& console, unsigned port) {
  console_ = &console;
  port_ = port;
  console.input(port).on_input_space([this] {
    deliver();
    loop_.wake();
  });
}

int ConsoleSocket::prepare(std::vector<pollfd>& waits) {
  if (console_ == nullptr) return -1;
  if (!client_.is_valid()) {
    // The guest hears of every leaving before the next client comes.
    if (console_->is_guest_informed(port_)) waits.push_back({listener_.get(), POLLIN, 0});
    return -1;
  }
  short events = 0;
  if (incoming_.empty()) events |= POLLIN;
  if (!unsent_.empty()) events |= POLLOUT;
  // With nothing to do, not even the client's end is of interest: it would be reported again and again.
  if (events != 0) waits.push_back({client_.get(), events, 0});
  return -1;
}

void ConsoleSocket::dispatch(std::span<const pollfd> waits) {
  if (waits.front().revents == 0) return;
  if (!client_.is_valid()) return accept_client();
  const bool was_full = !has_room();
  if (!unsent_.empty()) flush();
  if (was_full && has_room()) console_->output_room(port_);
  if (client_.is_valid() && incoming_.empty()) receive();
}

void ConsoleSocket::accept_client() {
  client_ = accept_unix(listener_.get());
  is_output_dead_ = false;
  if (client_.is_valid()) console_->set_host_open(port_, true);
}

void ConsoleSocket::receive() {
  std::array<u8, kReadSize> bytes;
  const ssize_t got = ::recv(client_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return leave();
  incoming_.assign(bytes.begin(), bytes.begin() + got);
  deliver();
}

void ConsoleSocket::deliver() {
  if (incoming_.empty()) return;
  const std::size_t taken = console_->input(port_).receive(incoming_);
  incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(taken));
}

void ConsoleSocket::put(std::span<const u8> characters) {
  if (!client_.is_valid() || is_output_dead_) return;
  unsent_.insert(unsent_.end(), characters.begin(), characters.end());
  flush();
  if (!unsent_.empty()) loop_.wake();
}

void ConsoleSocket::flush() {
  while (!unsent_.empty()) {
    const ssize_t sent = ::send(client_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    is_output_dead_ = sent <= 0;
    if (is_output_dead_)
      unsent_.clear();
    else
      unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
  }
}

void ConsoleSocket::leave() {
  client_.reset();
  incoming_.clear();
  unsent_.clear();
  console_->set_host_open(port_, false);
  console_->output_room(port_);
}

}  // namespace doppel
