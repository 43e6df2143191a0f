// ConsoleSocket: a Unix socket of the host as the back end of a console port.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "devices/port_backend.h"

namespace doppel {

class VirtioConsole;

// Listens, and serves one client at a time; others wait in the listener's queue until it has left and the
// guest was told so. The end of a client's data is its leaving. Both directions hold back: what the guest
// does not take stays in the socket, and what the client does not read stays, but for a bounded part, in the
// guest. Without a client the guest's output is dropped. Owned by the console; called with the device lock
// held.
class ConsoleSocket final : public PortBackend, private Poller {
 public:
  // What waits here for the client before the guest has to; one more write may come on top.
  static constexpr std::size_t kMaxUnsent = 64 * kKiB;

  // `loop` outlives it.
  static Result<std::unique_ptr<ConsoleSocket>> create(const std::string& path, EventLoop& loop);
  ~ConsoleSocket() override;

  // The port it belongs to; once, before anything runs.
  void connect_port(VirtioConsole& console, unsigned port);

  void put(std::span<const u8> characters) override;
  bool has_room() const override { return unsent_.size() < kMaxUnsent; }
  void guest_informed() override { loop_.wake(); }

 private:
  ConsoleSocket(std::string path, UniqueFd listener, EventLoop& loop)
      : path_(std::move(path)), listener_(std::move(listener)), loop_(loop) {}

  int prepare(std::vector<pollfd>& waits) override;
  void dispatch(std::span<const pollfd> waits) override;
  void accept_client();
  void receive();
  void deliver();
  void flush();
  void leave();

  std::string path_;
  UniqueFd listener_;
  EventLoop& loop_;
  VirtioConsole* console_ = nullptr;
  unsigned port_ = 0;
  UniqueFd client_;
  std::vector<u8> incoming_;     // not yet taken by the guest; nothing more is read meanwhile
  std::vector<u8> unsent_;       // not yet taken by the client
  bool is_output_dead_ = false;  // the client reads no more, but what it wrote is still delivered
};

}  // namespace doppel
