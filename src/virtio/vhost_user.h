// VhostUser: the front end of the vhost-user protocol: a device whose queues another process serves.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace doppel {

// Memory that the back end may map: what lies at `address` for both sides.
struct VhostUserRegion {
  u64 address;
  u64 size;
  int fd;
  u64 file_offset;
};

// A split ring in one of the regions, and the eventfds that stand for notifications.
struct VhostUserRing {
  u32 index;
  u16 size;
  u64 descriptors;
  u64 available;
  u64 used;
  int kick_fd;
  int call_fd;
};

// Speaks to one back end over its Unix socket (QEMU docs/interop/vhost-user.rst; message numbers as there).
// Addresses of rings are given in the same space as the regions' own. A back end that does not answer within
// a few seconds, or not as it should, is an error; it is as little trusted as any peer. Owned by a device;
// called with the device lock held.
class VhostUser {
 public:
  static constexpr std::size_t kMaxRegions = 8;

  static Result<VhostUser> connect(const std::string& path);
  // The same over a connection that exists; `name` stands for it in messages. How long an answer may take is
  // the socket's SO_RCVTIMEO.
  static Result<VhostUser> over(const std::string& name, UniqueFd socket);

  // When readable or hung up, ask is_connected(): the back end says nothing unasked.
  int fd() const { return socket_.get(); }
  bool is_connected() const;

  // Virtio feature bits that the back end offers.
  u64 features() const { return features_; }
  Result<void> set_features(u64 features);
  Result<void> set_memory(std::span<const VhostUserRegion> regions);
  Result<void> start_ring(const VhostUserRing& ring);
  // Returns once the back end touches the ring no more.
  Result<void> stop_ring(u32 index);

 private:
  VhostUser(std::string name, UniqueFd socket) : name_(std::move(name)), socket_(std::move(socket)) {}
  Result<void> negotiate();
  Result<void> send(u32 request, std::span<const u8> payload, std::span<const int> fds);
  Result<void> send_u64(u32 request, u64 value);
  Result<void> send_ring_value(u32 request, u32 index, u32 value);
  Result<void> send_ring_fd(u32 request, u32 index, int fd);
  Result<void> receive(u32 request, std::span<u8> payload);
  Result<u64> ask(u32 request);

  std::string name_;  // for messages
  UniqueFd socket_;
  u64 features_ = 0;
};

}  // namespace doppel
