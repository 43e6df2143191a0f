// Frames through /dev/net/tun, with virtio headers (Documentation/networking/tuntap).
#include "net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "net/frame.h"

// Of Linux 6.2; older headers lack them.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace doppel {
namespace {

constexpr unsigned kFramesPerRun = 64;  // before others get their turn
constexpr std::size_t kMaxPieces = 64;  // of one frame without copying

unsigned offload_flags(const NetOffloads& offloads) {
  if (!offloads.checksum) return 0;  // the kernel wants TUN_F_CSUM with all others
  unsigned flags = TUN_F_CSUM;
  if (offloads.tso4) flags |= TUN_F_TSO4;
  if (offloads.tso6) flags |= TUN_F_TSO6;
  if (offloads.ufo) flags |= TUN_F_UFO;
  if (offloads.uso) flags |= TUN_F_USO4 | TUN_F_USO6;
  return flags;
}

ifreq request_for(const std::string& interface) {
  ifreq request{};
  std::memcpy(request.ifr_name, interface.data(), std::min(interface.size(), sizeof(request.ifr_name) - 1));
  return request;
}

std::unexpected<Error> open_error(const std::string& interface, int error) {
  if (error == EPERM || error == EACCES) {
    return fail(
        "--net tap: no permission to use interface {}; run as root, or make it for this user with "
        "'ip tuntap add mode tap name {} user NAME'",
        interface, interface);
  }
  if (error == EBUSY) return fail("--net tap: interface {} is in use by another process", interface);
  if (error == EINVAL) {
    return fail("--net tap: interface {} exists and is no tap interface, or has another number of queues",
                interface);
  }
  return fail("--net tap: cannot open interface {}: {}", interface, std::strerror(error));
}

}  // namespace

Result<std::unique_ptr<Tap>> Tap::create(const std::string& interface, unsigned queue_pairs,
                                         EventLoop& loop) {
  if (interface.empty() || interface.size() >= IFNAMSIZ) {
    return fail_usage("--net tap: '{}' is no interface name", interface);
  }
  std::unique_ptr<Tap> tap(new Tap(interface, loop));
  TRY_VOID(tap->open(queue_pairs));
  return tap;
}

Tap::Tap(std::string interface, EventLoop& loop) : interface_(std::move(interface)), loop_(loop) {}

Result<void> Tap::open(unsigned queue_pairs) {
  const unsigned flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queue_pairs > 1 ? IFF_MULTI_QUEUE : 0u);
  for (unsigned i = 0; i < queue_pairs; ++i) TRY_VOID(add_queue(flags));
  limits_.from_guest = {.checksum = true, .tso4 = true, .tso6 = true, .ufo = true};
  // A kernel that can pass on UDP segments also takes them.
  limits_.from_guest.uso =
      ::ioctl(queues_[0].fd.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0;
  limits_.to_guest = limits_.from_guest;
  limits_.queue_pairs = queue_pairs;
  configure({.queue_pairs = queue_pairs});
  TRY_VOID(watch_link());
  return {};
}

Result<void> Tap::add_queue(unsigned flags) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_valid()) {
    if (errno == EACCES || errno == EPERM) return open_error(interface_, errno);
    return fail("--net tap: cannot open /dev/net/tun: {}", std::strerror(errno));
  }
  ifreq request = request_for(interface_);
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return open_error(interface_, errno);
  int header_size = sizeof(NetHeader);
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &header_size) != 0) return open_error(interface_, errno);
  Queue& queue = queues_.emplace_back();
  queue.fd = std::move(fd);
  queue.frame.resize(kMaxFrameSize);
  return {};
}

Result<void> Tap::watch_link() {
  const unsigned index = ::if_nametoindex(interface_.c_str());
  // Before the state is read: no change may fall between.
  monitor_ = TRY(LinkMonitor::create(loop_, index, [this](bool is_up) { set_link(is_up); }));
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = request_for(interface_);
  is_up_ = ::ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
  return {};
}

void Tap::set_receiver(NetReceiver* receiver) {
  receiver_ = receiver;
  for (Queue& queue : queues_) {
    queue.is_waiting = false;
    if (queue.watch != nullptr) queue.watch->set_events(POLLIN);
  }
}

void Tap::configure(const NetDriverSettings& settings) {
  if (is_gone_) return;
  // The kernel segments and checksums what the driver would not understand.
  if (::ioctl(queues_[0].fd.get(), TUNSETOFFLOAD, offload_flags(settings.offloads)) != 0) {
    LOG_WARNING("interface {}: cannot set offloads: {}", interface_, std::strerror(errno));
  }
  for (unsigned i = 0; i < queues_.size(); ++i) {
    attach(queues_[i], i < settings.queue_pairs);
    // A detached queue has nothing to wait for and reports an error for ever.
    if (!queues_[i].is_attached) {
      queues_[i].watch.reset();
      queues_[i].is_waiting = false;
    } else if (queues_[i].watch == nullptr) {
      queues_[i].watch = std::make_unique<FdWatch>(loop_, queues_[i].fd.get(), POLLIN,
                                                   [this, i](short events) { descriptor_ready(i, events); });
    }
  }
}

void Tap::attach(Queue& queue, bool is_attached) {
  if (queue.is_attached == is_attached || queues_.size() == 1) return;
  ifreq request{};
  request.ifr_flags = static_cast<short>(is_attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
  if (::ioctl(queue.fd.get(), TUNSETQUEUE, &request) != 0) {
    LOG_WARNING("interface {}: cannot change the number of queues: {}", interface_, std::strerror(errno));
    return;
  }
  queue.is_attached = is_attached;
}

void Tap::send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) {
  if (is_gone_ || queue >= queues_.size() || !queues_[queue].is_attached) return;
  std::array<iovec, kMaxPieces + 1> pieces;
  pieces[0] = {const_cast<NetHeader*>(&header), sizeof(header)};
  std::size_t count = 1;
  if (frame.size() > kMaxPieces) {
    if (!gather_frame(frame, outgoing_)) return;
    copied_ += outgoing_.size();
    pieces[count++] = {outgoing_.data(), outgoing_.size()};
  } else {
    std::ranges::copy(frame, pieces.begin() + 1);
    count += frame.size();
  }
  if (::writev(queues_[queue].fd.get(), pieces.data(), static_cast<int>(count)) < 0) write_failed(errno);
}

void Tap::write_failed(int error) {
  if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) return;
  if (error == EBADFD) return lose_interface();
  if (error == EINVAL) {
    LOG_GUEST("interface {}: the kernel refuses a frame's header", interface_);
    return;
  }
  // EIO: the interface is down.
  if (!has_logged_write_)
    LOG_WARNING("interface {}: frames are dropped: {}", interface_, std::strerror(error));
  has_logged_write_ = true;
}

void Tap::receive_ready(unsigned) {
  for (unsigned i = 0; i < queues_.size(); ++i) {
    if (queues_[i].is_waiting) read_frames(i);
  }
}

void Tap::descriptor_ready(unsigned index, short events) {
  if (queues_[index].is_waiting && (events & POLLERR) != 0) return lose_interface();
  read_frames(index);
}

void Tap::read_frames(unsigned index) {
  Queue& queue = queues_[index];
  bool has_room = true;
  for (unsigned i = 0; i < kFramesPerRun && has_room; ++i) {
    if (!queue.is_waiting && !read_frame(queue)) break;
    has_room = receiver_ == nullptr ||
               receiver_->receive(index, queue.header, std::span(queue.frame).first(queue.frame_size));
    queue.is_waiting = !has_room;
  }
  // While the guest has no room, what arrives stays in the kernel's queue.
  if (queue.watch != nullptr) queue.watch->set_events(queue.is_waiting ? 0 : POLLIN);
  if (receiver_ != nullptr) receiver_->receive_done();
}

bool Tap::read_frame(Queue& queue) {
  const iovec pieces[] = {{&queue.header, sizeof(queue.header)}, {queue.frame.data(), queue.frame.size()}};
  const ssize_t size = ::readv(queue.fd.get(), pieces, 2);
  if (size < 0 && errno == EBADFD) lose_interface();
  if (size < static_cast<ssize_t>(sizeof(NetHeader))) return false;
  queue.frame_size = static_cast<std::size_t>(size) - sizeof(NetHeader);
  return true;
}

void Tap::set_link(bool is_up) {
  if (is_gone_ || is_up == is_up_) return;
  is_up_ = is_up;
  has_logged_write_ = false;
  LOG_INFO("interface {}: {}", interface_, is_up ? "up" : "down");
  if (receiver_ != nullptr) receiver_->link_changed(is_up);
}

void Tap::lose_interface() {
  if (is_gone_) return;
  LOG_ERROR("interface {}: it is gone; the guest's link is down and its frames are dropped", interface_);
  set_link(false);
  is_gone_ = true;
  for (Queue& queue : queues_) {
    queue.watch.reset();
    queue.is_waiting = false;
  }
}

}  // namespace doppel
