// GdbServer: listens for GDB and carries its packets.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "front/gdb/packet.h"
#include "front/gdb/session.h"

namespace doppel::gdb {

// Serves one GDB after the other on a thread of its own. Attaching stops the machine; going away without a
// word detaches. Owned by whoever runs the machine. stopped() may be called from any thread.
class GdbServer {
 public:
  // `address`: "tcp:127.0.0.1:1234" (port 0: a free one) or "unix:PATH" (must not exist yet).
  static Result<std::unique_ptr<GdbServer>> create(std::string_view address);
  ~GdbServer();
  GdbServer(const GdbServer&) = delete;
  GdbServer& operator=(const GdbServer&) = delete;

  void start(DebugPort port);
  // Ends the thread. The machine no longer takes commands afterwards.
  void stop();
  void stopped(const DebugStop& stop);

  // Where it listens, for the user: as given, with the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  GdbServer(UniqueFd listener, UniqueFd wake_fd, std::string address, std::string path);
  void run();
  bool wait();
  void deliver_stops();
  void accept();
  void receive();
  void flush();
  void take(const Arrival& arrival);
  void send(std::string_view payload);
  void finish(After after);
  void close();

  UniqueFd listener_;
  UniqueFd wake_fd_;  // an eventfd
  std::string address_;
  std::string path_;  // of the unix socket; empty: none
  DebugPort port_;
  std::thread thread_;

  std::mutex mutex_;  // guards the two below; taken last
  std::vector<DebugStop> stops_;
  bool is_stopping_ = false;

  // Of the connection; used by the thread only.
  UniqueFd connection_;
  std::unique_ptr<Session> session_;
  PacketReader reader_;
  std::string output_;  // not yet taken by the socket
  std::string last_packet_;
  bool acknowledges_ = true;
  bool is_closing_ = false;  // once the output is gone
};

}  // namespace doppel::gdb
