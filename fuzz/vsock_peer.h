// VsockPeer: programs of the host at the sockets of a vsock device, which do what the fuzzer likes.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/verify.h"
#include "devices/vsock_packet.h"
#include "net/unix_socket.h"

namespace doppel::fuzz {

// Clients of the listening socket, and a server at the host's port 80. Owned by the fuzz target.
class VsockPeer {
 public:
  static constexpr u32 kServedPort = 80;
  static constexpr u64 kGuestCid = 3;

  VsockPeer() {
    char name[] = "/tmp/doppel-fuzz-XXXXXX";
    VERIFY(::mkdtemp(name) != nullptr);
    folder_ = name;
    auto listener = listen_unix("--vsock", server_path());
    VERIFY(listener.has_value());
    server_ = std::move(*listener);
  }
  ~VsockPeer() {
    ::unlink(server_path().c_str());
    ::unlink(path().c_str());
    ::rmdir(folder_.c_str());
  }
  VsockPeer(const VsockPeer&) = delete;
  VsockPeer& operator=(const VsockPeer&) = delete;

  std::string path() const { return folder_ + "/v"; }

  void act(FuzzedDataProvider& input) {
    switch (input.ConsumeIntegralInRange(0, 5)) {
      case 0:
        return connect(input);
      case 1:
        return accept();
      case 2:
        return read(input);
      case 3:
        return end(input);
      default:
        return write(input);
    }
  }

  // The header of a packet that a guest may well send.
  static std::string packet(FuzzedDataProvider& input) {
    const VsockHeader header{
        .source_cid = input.ConsumeIntegralInRange<u64>(kGuestCid, kGuestCid + 1),
        .destination_cid = kVsockHostCid,
        .source_port = input.ConsumeIntegralInRange<u32>(1, 3),
        .destination_port =
            input.ConsumeBool() ? kServedPort : (1u << 30) + input.ConsumeIntegralInRange<u32>(0, 3),
        .length =
            input.ConsumeBool() ? input.ConsumeIntegralInRange<u32>(0, 64) : input.ConsumeIntegral<u32>(),
        .type = input.ConsumeIntegralInRange<u16>(1, 2),
        .operation = static_cast<VsockOperation>(input.ConsumeIntegralInRange<u16>(0, 8)),
        .flags = input.ConsumeIntegralInRange<u32>(0, 3),
        .buffer_size = input.ConsumeIntegral<u32>(),
        .forwarded = input.ConsumeIntegralInRange<u32>(0, 64)};
    return {reinterpret_cast<const char*>(&header), sizeof(header)};
  }

 private:
  static constexpr std::size_t kMostClients = 8;

  std::string server_path() const { return folder_ + "/v_80"; }
  const UniqueFd* any(FuzzedDataProvider& input) const {
    if (clients_.empty()) return nullptr;
    return &clients_[input.ConsumeIntegralInRange<std::size_t>(0, clients_.size() - 1)];
  }
  void send(const UniqueFd& client, std::string_view text) const {
    std::ignore = ::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void connect(FuzzedDataProvider& input) {
    if (clients_.size() >= kMostClients) return;
    UniqueFd client = connect_unix(path());
    if (!client.is_valid()) return;
    if (input.ConsumeIntegralInRange(0, 3) == 0) {
      send(client, input.ConsumeBytesAsString(input.ConsumeIntegralInRange<std::size_t>(0, 40)));
    } else {
      send(client, fmt::format("CONNECT {}\n", input.ConsumeIntegralInRange(1, 3)));
    }
    clients_.push_back(std::move(client));
  }
  void accept() {
    if (clients_.size() >= kMostClients) return;
    UniqueFd client = accept_unix(server_.get());
    if (client.is_valid()) clients_.push_back(std::move(client));
  }
  void write(FuzzedDataProvider& input) const {
    const UniqueFd* client = any(input);
    if (client != nullptr) send(*client, input.ConsumeBytesAsString(40));
  }
  void read(FuzzedDataProvider& input) const {
    std::array<u8, 4096> data;
    const UniqueFd* client = any(input);
    if (client != nullptr) std::ignore = ::recv(client->get(), data.data(), data.size(), MSG_DONTWAIT);
  }
  void end(FuzzedDataProvider& input) {
    const UniqueFd* client = any(input);
    if (client == nullptr) return;
    if (input.ConsumeBool()) {
      ::shutdown(client->get(), input.ConsumeBool() ? SHUT_RD : SHUT_WR);
    } else {
      clients_.erase(clients_.begin() + (client - clients_.data()));
    }
  }

  std::string folder_;
  UniqueFd server_;
  std::vector<UniqueFd> clients_;
};

}  // namespace doppel::fuzz
