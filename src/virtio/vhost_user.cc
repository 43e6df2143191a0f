// Messages of the vhost-user protocol.
#include "virtio/vhost_user.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/verify.h"

namespace doppel {

namespace {

enum Request : u32 {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kSetMemoryTable = 5,
  kSetRingSize = 8,
  kSetRingAddress = 9,
  kSetRingBase = 10,
  kGetRingBase = 11,
  kSetRingKick = 12,
  kSetRingCall = 13,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kSetRingEnable = 18,
};

constexpr u32 kVersion = 1;
constexpr u32 kVersionMask = 3;
constexpr u32 kReply = 4;
constexpr u64 kFeatureProtocolFeatures = u64{1} << 30;
constexpr u64 kFeatureVersion1 = u64{1} << 32;
constexpr time_t kAnswerSeconds = 5;

struct Header {
  u32 request;
  u32 flags;
  u32 size;
};
static_assert(sizeof(Header) == 12);

struct MemoryRegion {
  u64 guest_address;
  u64 size;
  u64 user_address;
  u64 mmap_offset;
};
struct MemoryTable {
  u32 count;
  u32 padding;
  MemoryRegion regions[VhostUser::kMaxRegions];
};
static_assert(sizeof(MemoryTable) == 8 + 32 * VhostUser::kMaxRegions);

struct RingValue {
  u32 index;
  u32 value;
};
struct RingAddress {
  u32 index;
  u32 flags;
  u64 descriptors;
  u64 used;
  u64 available;
  u64 log;
};
static_assert(sizeof(RingAddress) == 40);

template <class T>
std::span<const u8> bytes_of(const T& value) {
  return {reinterpret_cast<const u8*>(&value), sizeof(value)};
}

}  // namespace

Result<VhostUser> VhostUser::connect(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return fail_usage("socket '{}': the path is too long", path);
  path.copy(address.sun_path, path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit = {kAnswerSeconds, 0};
  if (!socket.is_valid() || ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail("socket '{}': {}; start the daemon first", path, std::strerror(errno));
  }
  return over(fmt::format("socket '{}'", path), std::move(socket));
}

Result<VhostUser> VhostUser::over(const std::string& name, UniqueFd socket) {
  VhostUser client(name, std::move(socket));
  TRY_VOID(client.negotiate());
  return client;
}

Result<void> VhostUser::negotiate() {
  TRY_VOID(send(kSetOwner, {}, {}));
  features_ = TRY(ask(kGetFeatures));
  if ((features_ & kFeatureVersion1) == 0) return fail("{}: the daemon offers no virtio 1", name_);
  if ((features_ & kFeatureProtocolFeatures) != 0) {
    std::ignore = TRY(ask(kGetProtocolFeatures));
    TRY_VOID(send_u64(kSetProtocolFeatures, 0));
  }
  return {};
}

bool VhostUser::is_connected() const {
  u8 byte;
  return ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

Result<void> VhostUser::set_features(u64 features) {
  return send_u64(kSetFeatures, (features | kFeatureProtocolFeatures) & features_);
}

Result<void> VhostUser::set_memory(std::span<const VhostUserRegion> regions) {
  VERIFY(regions.size() <= kMaxRegions);
  MemoryTable table = {};
  int fds[kMaxRegions] = {};
  for (const VhostUserRegion& region : regions) {
    fds[table.count] = region.fd;
    table.regions[table.count++] = {region.address, region.size, region.address, region.file_offset};
  }
  const auto payload = bytes_of(table).first(8 + regions.size() * sizeof(MemoryRegion));
  return send(kSetMemoryTable, payload, {fds, regions.size()});
}

Result<void> VhostUser::start_ring(const VhostUserRing& ring) {
  TRY_VOID(send_ring_value(kSetRingSize, ring.index, ring.size));
  TRY_VOID(send_ring_value(kSetRingBase, ring.index, 0));
  const RingAddress address = {ring.index, 0, ring.descriptors, ring.used, ring.available, 0};
  TRY_VOID(send(kSetRingAddress, bytes_of(address), {}));
  TRY_VOID(send_ring_fd(kSetRingCall, ring.index, ring.call_fd));
  TRY_VOID(send_ring_fd(kSetRingKick, ring.index, ring.kick_fd));
  if ((features_ & kFeatureProtocolFeatures) == 0) return {};
  return send_ring_value(kSetRingEnable, ring.index, 1);
}

Result<void> VhostUser::stop_ring(u32 index) {
  TRY_VOID(send_ring_value(kGetRingBase, index, 0));
  RingValue base = {};
  return receive(kGetRingBase, {reinterpret_cast<u8*>(&base), sizeof(base)});
}

Result<void> VhostUser::send(u32 request, std::span<const u8> payload, std::span<const int> fds) {
  Header header = {request, kVersion, static_cast<u32>(payload.size())};
  iovec parts[2] = {{&header, sizeof(header)}, {const_cast<u8*>(payload.data()), payload.size()}};
  alignas(cmsghdr) u8 control[CMSG_SPACE(sizeof(int) * kMaxRegions)] = {};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = payload.empty() ? 1 : 2;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(sizeof(header) + payload.size())) return {};
  return fail("{}: request {} to the daemon: {}", name_, request,
              sent < 0 ? std::strerror(errno) : "cut short");
}

Result<void> VhostUser::send_u64(u32 request, u64 value) { return send(request, bytes_of(value), {}); }

Result<void> VhostUser::send_ring_value(u32 request, u32 index, u32 value) {
  const RingValue payload = {index, value};
  return send(request, bytes_of(payload), {});
}

Result<void> VhostUser::send_ring_fd(u32 request, u32 index, int fd) {
  const u64 payload = index;
  return send(request, bytes_of(payload), {&fd, 1});
}

Result<void> VhostUser::receive(u32 request, std::span<u8> payload) {
  Header header = {};
  iovec parts[2] = {{&header, sizeof(header)}, {payload.data(), payload.size()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  // Without room for control data the kernel drops whatever descriptors come along.
  const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_WAITALL);
  if (got < 0) return fail("{}: no answer to request {}: {}", name_, request, std::strerror(errno));
  const bool is_answer = got == static_cast<ssize_t>(sizeof(header) + payload.size()) &&
                         header.request == request && header.size == payload.size() &&
                         (header.flags & (kVersionMask | kReply)) == (kVersion | kReply);
  if (!is_answer) return fail("{}: the daemon's answer to request {} makes no sense", name_, request);
  return {};
}

Result<u64> VhostUser::ask(u32 request) {
  TRY_VOID(send(request, {}, {}));
  u64 value = 0;
  TRY_VOID(receive(request, {reinterpret_cast<u8*>(&value), sizeof(value)}));
  return value;
}

}  // namespace doppel
