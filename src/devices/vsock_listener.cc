// Accepting clients and reading the port they want.
#include "devices/vsock_listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "net/unix_socket.h"

namespace doppel {
namespace {

constexpr std::string_view kCommand = "CONNECT ";

std::optional<u32> parse_line(std::string_view line) {
  if (!line.starts_with(kCommand)) return std::nullopt;
  line.remove_prefix(kCommand.size());
  u32 port = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), port);
  if (error != std::errc{} || end != line.data() + line.size()) return std::nullopt;
  return port;
}

}  // namespace

Result<std::unique_ptr<VsockListener>> VsockListener::create(const std::string& path, EventLoop& loop,
                                                             std::function<void(u32, UniqueFd)> on_connect) {
  UniqueFd socket = TRY(listen_unix("--vsock", path));
  return std::unique_ptr<VsockListener>(
      new VsockListener(path, std::move(socket), loop, std::move(on_connect)));
}

VsockListener::VsockListener(std::string path, UniqueFd socket, EventLoop& loop,
                             std::function<void(u32, UniqueFd)> on_connect)
    : path_(std::move(path)),
      socket_(std::move(socket)),
      loop_(loop),
      on_connect_(std::move(on_connect)),
      watch_(std::make_unique<FdWatch>(loop, socket_.get(), POLLIN, [this](short) { accept(); })) {}

VsockListener::~VsockListener() { ::unlink(path_.c_str()); }

void VsockListener::accept() {
  UniqueFd socket = accept_unix(socket_.get());
  if (!socket.is_valid()) return;
  if (clients_.size() >= kMaxClients) clients_.pop_front();
  Client& client = *clients_.emplace_back(std::make_unique<Client>());
  client.socket = std::move(socket);
  client.watch = std::make_unique<FdWatch>(loop_, client.socket.get(), POLLIN,
                                           [this, &client](short) { read_line(client); });
}

// One byte at a time: what follows the line is not ours.
void VsockListener::read_line(Client& client) {
  for (;;) {
    char byte;
    const ssize_t size = ::recv(client.socket.get(), &byte, 1, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return remove(client);
    if (byte == '\n') return finish(client);
    client.line += byte;
    if (client.line.size() > kMaxLine) return remove(client);
  }
}

void VsockListener::finish(Client& client) {
  const std::optional<u32> port = parse_line(client.line);
  client.watch.reset();
  UniqueFd socket = std::move(client.socket);
  remove(client);
  if (port) on_connect_(*port, std::move(socket));
}

void VsockListener::remove(Client& client) {
  std::erase_if(clients_, [&](const auto& entry) { return entry.get() == &client; });
}

}  // namespace doppel
