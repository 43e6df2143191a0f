// ControlSocket: a Unix socket that takes commands for a running machine, a line each.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>

#include "base/unique_fd.h"
#include "cli/control_lines.h"

namespace doppel {

// Serves several clients on a thread of its own; only the user that runs doppel may connect. A line that is
// too long is answered with one error and skipped; a client that does not read its answers is not read.
// Owned by the command that runs the machine.
class ControlSocket {
 public:
  static constexpr std::size_t kLongestLine = 4096;
  static constexpr std::size_t kMaxClients = 16;  // others wait

  // `address`: unix:PATH.
  static Result<std::unique_ptr<ControlSocket>> create(const std::string& address);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  void start(CommandPort port);
  // Ends the thread; what was answered so far is sent. The machine takes no commands afterwards.
  void stop();

 private:
  struct Client {
    UniqueFd fd;
    std::string input = {};  // received, not yet looked at: nothing more is received meanwhile
    std::string line = {};   // what came of the next one
    bool is_too_long = false;
    std::string unsent = {};
    bool is_gone = false;
  };

  ControlSocket(std::string path, UniqueFd listener, UniqueFd wake_fd)
      : path_(std::move(path)), listener_(std::move(listener)), wake_fd_(std::move(wake_fd)) {}
  void run();
  std::vector<pollfd> wait();
  void accept_client();
  static void receive(Client& client);
  void serve(Client& client);
  void take_line(Client& client);
  static void flush(Client& client);

  std::string path_;
  UniqueFd listener_;
  UniqueFd wake_fd_;  // an eventfd that ends the thread
  std::unique_ptr<ControlLines> lines_;
  std::list<Client> clients_;
  std::thread thread_;
};

}  // namespace doppel
