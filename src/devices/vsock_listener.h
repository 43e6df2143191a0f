// VsockListener: where programs of the host ask for connections to ports of the guest.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"

namespace doppel {

// A Unix socket. A client writes "CONNECT port\n"; what follows is the stream. Clients that do not finish
// their line are held, up to kMaxClients, the oldest of which then goes. Owned by VirtioVsock; called back on
// the event loop.
class VsockListener {
 public:
  static constexpr std::size_t kMaxClients = 64;
  static constexpr std::size_t kMaxLine = 32;

  // `on_connect` gets the port and the client's socket.
  static Result<std::unique_ptr<VsockListener>> create(const std::string& path, EventLoop& loop,
                                                       std::function<void(u32, UniqueFd)> on_connect);
  ~VsockListener();
  VsockListener(const VsockListener&) = delete;
  VsockListener& operator=(const VsockListener&) = delete;

 private:
  struct Client {
    UniqueFd socket;
    std::string line;
    std::unique_ptr<FdWatch> watch;
  };

  VsockListener(std::string path, UniqueFd socket, EventLoop& loop,
                std::function<void(u32, UniqueFd)> on_connect);
  void accept();
  void read_line(Client& client);
  void finish(Client& client);
  void remove(Client& client);

  std::string path_;
  UniqueFd socket_;
  EventLoop& loop_;
  std::function<void(u32, UniqueFd)> on_connect_;
  std::deque<std::unique_ptr<Client>> clients_;  // oldest first
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace doppel
