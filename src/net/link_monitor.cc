// Reading RTM_NEWLINK and RTM_DELLINK messages (rtnetlink(7)).
#include "net/link_monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace doppel {
namespace {

// Whether one message says that the interface is up; nothing when it is about something else.
std::optional<bool> link_state(std::span<const u8> message, unsigned interface_index) {
  nlmsghdr header;
  ifinfomsg info;
  if (message.size() < sizeof(header) + sizeof(info)) return std::nullopt;
  std::memcpy(&header, message.data(), sizeof(header));
  std::memcpy(&info, message.data() + sizeof(header), sizeof(info));
  if (info.ifi_index != static_cast<int>(interface_index)) return std::nullopt;
  if (header.nlmsg_type == RTM_DELLINK) return false;
  if (header.nlmsg_type != RTM_NEWLINK) return std::nullopt;
  return (info.ifi_flags & IFF_UP) != 0;
}

}  // namespace

Result<std::unique_ptr<LinkMonitor>> LinkMonitor::create(EventLoop& loop, unsigned interface_index,
                                                         std::function<void(bool)> callback) {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (!socket.is_valid() ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail("cannot watch network interfaces: {}", std::strerror(errno));
  }
  std::unique_ptr<LinkMonitor> monitor(
      new LinkMonitor(std::move(socket), interface_index, std::move(callback)));
  monitor->watch_ = std::make_unique<FdWatch>(loop, monitor->socket_.get(), POLLIN,
                                              [self = monitor.get()](short) { self->read_messages(); });
  return monitor;
}

LinkMonitor::LinkMonitor(UniqueFd socket, unsigned interface_index, std::function<void(bool)> callback)
    : socket_(std::move(socket)), interface_index_(interface_index), callback_(std::move(callback)) {}

void LinkMonitor::read_messages() {
  std::array<u8, 16384> buffer;
  std::optional<bool> state;
  for (;;) {
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    // ENOBUFS: messages were lost; the next one about the interface tells its state.
    if (size < 0 && errno == ENOBUFS) continue;
    if (size <= 0) break;
    std::span<const u8> rest(buffer.data(), static_cast<std::size_t>(size));
    nlmsghdr header;
    while (rest.size() >= sizeof(header)) {
      std::memcpy(&header, rest.data(), sizeof(header));
      if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > rest.size()) break;
      if (const auto said = link_state(rest.first(header.nlmsg_len), interface_index_)) state = said;
      rest = rest.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
    }
  }
  if (state) callback_(*state);
}

}  // namespace doppel
