// Clients of the control socket: lines in, answers out.
#include "cli/control_socket.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <tuple>

#include "net/unix_socket.h"

namespace doppel {
namespace {

constexpr std::string_view kPrefix = "unix:";
constexpr mode_t kOwnerOnly = 0600;

}  // namespace

Result<std::unique_ptr<ControlSocket>> ControlSocket::create(const std::string& address) {
  if (!address.starts_with(kPrefix) || address.size() == kPrefix.size())
    return fail_usage("--control {}: give unix:PATH", address);
  std::string path = address.substr(kPrefix.size());
  UniqueFd listener = TRY(listen_unix("--control", path, kOwnerOnly));
  UniqueFd wake_fd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_fd.is_valid()) return fail("--control: eventfd: {}", std::strerror(errno));
  return std::unique_ptr<ControlSocket>(
      new ControlSocket(std::move(path), std::move(listener), std::move(wake_fd)));
}

ControlSocket::~ControlSocket() {
  stop();
  std::ignore = ::unlink(path_.c_str());
}

void ControlSocket::start(CommandPort port) {
  lines_ = std::make_unique<ControlLines>(std::move(port));
  thread_ = std::thread([this] { run(); });
}

void ControlSocket::stop() {
  if (!thread_.joinable()) return;
  const u64 one = 1;
  std::ignore = ::write(wake_fd_.get(), &one, sizeof(one));
  thread_.join();
}

// The eventfd, the listener, then the clients in their order.
std::vector<pollfd> ControlSocket::wait() {
  const bool has_place = clients_.size() < kMaxClients;
  std::vector<pollfd> waits = {{wake_fd_.get(), POLLIN, 0}, {has_place ? listener_.get() : -1, POLLIN, 0}};
  for (const Client& client : clients_) {
    const int events = client.unsent.empty() ? POLLIN : POLLOUT;
    waits.push_back({client.fd.get(), static_cast<short>(events), 0});
  }
  while (::poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) {
  }
  return waits;
}

void ControlSocket::run() {
  for (;;) {
    const std::vector<pollfd> waits = wait();
    if (waits[0].revents != 0) return clients_.clear();
    auto entry = waits.begin() + 2;
    for (Client& client : clients_) {
      if ((entry++)->revents == 0) continue;
      if (client.unsent.empty() && client.input.empty()) receive(client);
      serve(client);
    }
    clients_.remove_if([](const Client& client) { return client.is_gone; });
    if (waits[1].revents != 0) accept_client();
  }
}

void ControlSocket::accept_client() {
  UniqueFd fd = accept_unix(listener_.get());
  if (fd.is_valid()) clients_.push_back({.fd = std::move(fd)});
}

void ControlSocket::receive(Client& client) {
  char bytes[1024];
  const ssize_t got = ::recv(client.fd.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    client.is_gone = true;
    return;
  }
  client.input.assign(bytes, static_cast<std::size_t>(got));
}

// Answers wait for the client, and lines for the answers to those before.
void ControlSocket::serve(Client& client) {
  flush(client);
  while (!client.input.empty() && client.unsent.empty() && !client.is_gone) {
    const std::size_t end = client.input.find('\n');
    client.line += client.input.substr(0, end);
    client.is_too_long = client.is_too_long || client.line.size() > kLongestLine;
    if (client.is_too_long) client.line.clear();
    if (end == std::string::npos) return client.input.clear();
    client.input.erase(0, end + 1);
    take_line(client);
    flush(client);
  }
}

void ControlSocket::take_line(Client& client) {
  client.unsent = client.is_too_long ? fmt::format("error: more than {} characters in a line", kLongestLine)
                                     : lines_->answer(client.line);
  client.unsent += '\n';
  client.line.clear();
  client.is_too_long = false;
}

void ControlSocket::flush(Client& client) {
  while (!client.unsent.empty()) {
    const ssize_t sent =
        ::send(client.fd.get(), client.unsent.data(), client.unsent.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent <= 0) {
      client.is_gone = true;
      return client.unsent.clear();
    }
    client.unsent.erase(0, static_cast<std::size_t>(sent));
  }
}

}  // namespace doppel
