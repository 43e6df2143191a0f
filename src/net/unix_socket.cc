// Making, connecting and accepting Unix stream sockets.
#include "net/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace doppel {
namespace {

constexpr int kBacklog = 16;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

UniqueFd make_socket() { return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

bool is_socket(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

// A socket file whose owner is gone.
bool is_abandoned(const std::string& path) {
  return is_socket(path) && !connect_unix(path).is_valid() && errno == ECONNREFUSED;
}

}  // namespace

bool is_unix_path(std::string_view path) {
  return !path.empty() && path.size() < sizeof(sockaddr_un::sun_path);
}

Result<UniqueFd> listen_unix(std::string_view option, const std::string& path, mode_t mode) {
  if (!is_unix_path(path)) return fail_usage("{}: '{}' is too long for a socket's path", option, path);
  if (is_abandoned(path)) ::unlink(path.c_str());
  UniqueFd socket = make_socket();
  const sockaddr_un address = address_of(path);
  // The file gets the mode that its socket has: nobody can come in between.
  if (!socket.is_valid() || ::fchmod(socket.get(), mode) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return fail("{}: cannot listen at {}: {}", option, path, std::strerror(errno));
  }
  return socket;
}

UniqueFd connect_unix(const std::string& path) {
  UniqueFd socket = make_socket();
  const sockaddr_un address = address_of(path);
  if (socket.is_valid() &&
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return socket;
  }
  const int error = errno;
  socket.reset();
  errno = error;
  return socket;
}

UniqueFd accept_unix(int listener) {
  return UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

}  // namespace doppel
