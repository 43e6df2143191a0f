// Sockets for the debugger.
#include "front/gdb/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace doppel::gdb {
namespace {

constexpr int kBacklog = 1;

Result<ListeningSocket> listen_unix(std::string_view path) {
  sockaddr_un where = {};
  where.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(where.sun_path))
    return fail_usage("--gdb unix:{}: give a path of 1 to {} characters", path, sizeof(where.sun_path) - 1);
  std::memcpy(where.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_valid()) return fail("--gdb: socket: {}", std::strerror(errno));
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where), sizeof(where)) != 0)
    return fail("--gdb unix:{}: {}; remove the file if nobody listens there", path, std::strerror(errno));
  if (::listen(fd.get(), kBacklog) != 0) return fail("--gdb unix:{}: {}", path, std::strerror(errno));
  return ListeningSocket{std::move(fd), "unix:" + std::string(path), std::string(path)};
}

Result<ListeningSocket> listen_tcp(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail_usage("--gdb tcp:{}: give tcp:ADDRESS:PORT", text);
  const std::string host(text.substr(0, colon) == "localhost" ? "127.0.0.1" : text.substr(0, colon));
  const std::string_view digits = text.substr(colon + 1);
  u16 port = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  sockaddr_in where = {};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  const bool is_port = error == std::errc() && rest == digits.data() + digits.size();
  if (!is_port || ::inet_pton(AF_INET, host.c_str(), &where.sin_addr) != 1)
    return fail_usage("--gdb tcp:{}: give a numeric IPv4 address or localhost, and a port", text);
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_valid()) return fail("--gdb: socket: {}", std::strerror(errno));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  socklen_t size = sizeof(where);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where), size) != 0 || ::listen(fd.get(), kBacklog) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&where), &size) != 0) {
    return fail("--gdb tcp:{}: {}", text, std::strerror(errno));
  }
  return ListeningSocket{std::move(fd), fmt::format("tcp:{}:{}", host, ntohs(where.sin_port)), {}};
}

}  // namespace

Result<ListeningSocket> listen_at(std::string_view address) {
  if (address.starts_with("unix:")) return listen_unix(address.substr(5));
  if (address.starts_with("tcp:")) return listen_tcp(address.substr(4));
  return fail_usage("--gdb {}: give tcp:ADDRESS:PORT or unix:PATH", address);
}

}  // namespace doppel::gdb
