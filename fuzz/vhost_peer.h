// VhostPeer: a vhost-user daemon inside the fuzz target, which answers and writes as the fuzzer likes.
#pragma once

#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "base/verify.h"
#include "virtio/ring_layout.h"

namespace doppel::fuzz {

// A thread answers the protocol's messages; everything else is done by act(), once the thread has seen all
// messages, so that equal input gives equal runs. Owned by the fuzz target; outlives the device.
class VhostPeer {
 public:
  // What the daemon does to an answer.
  enum class Manner : u8 { kHonest, kOtherRequest, kOtherSize, kNoReplyFlag, kHangUp, kMaxValue = kHangUp };
  struct Nature {
    u64 features = 0;
    unsigned good_answers = 0;  // before `then` begins
    Manner then = Manner::kHonest;
  };

  explicit VhostPeer(const Nature& nature) : nature_(nature) {
    int ends[2];
    VERIFY(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    client_ = UniqueFd(ends[0]);
    socket_ = UniqueFd(ends[1]);
    const timeval limit = {0, 200'000};
    ::setsockopt(client_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    thread_ = std::thread([this] { serve(); });
  }
  ~VhostPeer() {
    ::shutdown(client_.get(), SHUT_RDWR);
    thread_.join();
    for (const Region& region : regions_) ::munmap(region.base, region.size);
  }
  VhostPeer(const VhostPeer&) = delete;
  VhostPeer& operator=(const VhostPeer&) = delete;

  // The device's end.
  UniqueFd client() const { return UniqueFd(::fcntl(client_.get(), F_DUPFD_CLOEXEC, 0)); }

  void act(FuzzedDataProvider& input) {
    wait_until_served();
    const std::lock_guard lock(mutex_);
    Ring& ring = rings_[input.ConsumeBool() ? 1 : 0];
    switch (input.ConsumeIntegralInRange(0, 9)) {
      case 0:
        return hang_up(input);
      case 1:
        return scribble(ring, input);
      case 2:
        return say(input);
      case 3:
        ring.served = input.ConsumeIntegral<u16>();
        break;
      default:
        for (unsigned more = input.ConsumeIntegralInRange(1u, 4u); more != 0; --more) {
          complete(ring, input.ConsumeBool() ? 16 : input.ConsumeIntegral<u32>());
        }
    }
    call(ring);
  }

  // As an honest daemon: answers what waits in both rings, with that length.
  void complete_all(u32 length) {
    wait_until_served();
    const std::lock_guard lock(mutex_);
    for (Ring& ring : rings_) {
      while (ring.size != 0 && ring.served != load<u16>(ring.available + 2)) complete(ring, length);
      call(ring);
    }
  }

 private:
  enum : u32 {
    kGetFeatures = 1,
    kSetMemoryTable = 5,
    kSetRingSize = 8,
    kSetRingAddress = 9,
    kGetRingBase = 11,
    kSetRingCall = 13,
    kGetProtocolFeatures = 15
  };
  static constexpr u64 kRingMemory = u64{1} << 52;  // regions from here on are mapped
  static constexpr std::size_t kMostPayload = 4096;

  struct Header {
    u32 request;
    u32 flags;
    u32 size;
  };
  struct Region {
    u64 address;
    u64 size;
    u8* base;
  };
  struct Ring {
    u16 size = 0;
    u64 descriptors = 0;
    u64 available = 0;
    u64 used = 0;
    UniqueFd call;
    u16 served = 0;  // next place of the available ring
  };

  // Until all messages are handled: the thread takes them with the mutex held.
  void wait_until_served() const {
    int waiting = 1;
    while (::ioctl(client_.get(), SIOCOUTQ, &waiting) == 0 && waiting > 0) std::this_thread::yield();
  }

  void serve() {
    for (bool goes_on = true; goes_on;) {
      pollfd wait{socket_.get(), POLLIN, 0};
      if (::poll(&wait, 1, -1) < 0) continue;
      const std::lock_guard lock(mutex_);
      goes_on = take_message();
      if (!goes_on) ::shutdown(socket_.get(), SHUT_RDWR);
    }
    std::array<u8, kMostPayload> rest;
    while (::recv(socket_.get(), rest.data(), rest.size(), 0) > 0) {
    }
  }

  bool take_message() {
    Header header = {};
    iovec part{&header, sizeof(header)};
    alignas(cmsghdr) std::array<u8, CMSG_SPACE(8 * sizeof(int))> control = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_WAITALL) != sizeof(header)) return false;
    std::vector<UniqueFd> fds;
    for (cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr;
         rights = CMSG_NXTHDR(&message, rights)) {
      std::array<int, 8> numbers;
      const std::size_t size = rights->cmsg_len - CMSG_LEN(0);
      std::memcpy(numbers.data(), CMSG_DATA(rights), size);
      for (std::size_t i = 0; i < size / sizeof(int); ++i) fds.emplace_back(numbers[i]);
    }
    std::array<u8, kMostPayload> payload = {};
    VERIFY(header.size <= payload.size());
    if (header.size != 0 && ::recv(socket_.get(), payload.data(), header.size, MSG_WAITALL) !=
                                static_cast<ssize_t>(header.size)) {
      return false;
    }
    return handle(header, payload.data(), fds);
  }

  template <class T>
  static T value_at(const u8* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }

  bool handle(const Header& header, const u8* payload, std::vector<UniqueFd>& fds) {
    const auto index = value_at<u32>(payload);
    switch (header.request) {
      case kGetFeatures:
        return answer(header.request, nature_.features);
      case kGetProtocolFeatures:
        return answer(header.request, 0);
      case kGetRingBase:
        return answer(header.request, index);
      case kSetMemoryTable:
        map_regions(payload, fds);
        return true;
      default:
        if (index < rings_.size()) set_up(rings_[index], header.request, payload, fds);
        return true;
    }
  }

  void set_up(Ring& ring, u32 request, const u8* payload, std::vector<UniqueFd>& fds) {
    if (request == kSetRingSize) {
      ring.size = static_cast<u16>(value_at<u32>(payload + 4));
      ring.served = 0;
    } else if (request == kSetRingAddress) {
      ring.descriptors = value_at<u64>(payload + 8);
      ring.used = value_at<u64>(payload + 16);
      ring.available = value_at<u64>(payload + 24);
    } else if (request == kSetRingCall && !fds.empty()) {
      ring.call = std::move(fds[0]);
    }
  }

  void map_regions(const u8* payload, std::vector<UniqueFd>& fds) {
    const auto count = value_at<u32>(payload);
    for (u32 i = 0; i < count && i < fds.size(); ++i) {
      const u8* entry = payload + 8 + 32 * i;
      const auto address = value_at<u64>(entry);
      const auto size = value_at<u64>(entry + 8);
      if (address < kRingMemory) continue;
      void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i].get(), 0);
      VERIFY(base != MAP_FAILED);
      regions_.push_back({address, size, static_cast<u8*>(base)});
    }
  }

  bool answer(u32 request, u64 value) {
    Header header = {request, 5, sizeof(value)};
    if (answers_++ >= nature_.good_answers) {
      if (nature_.then == Manner::kHangUp) return false;
      if (nature_.then == Manner::kOtherRequest) header.request = ~request;
      if (nature_.then == Manner::kOtherSize) header.size = 0x7fffffff;
      if (nature_.then == Manner::kNoReplyFlag) header.flags = 1;
    }
    iovec parts[] = {{&header, sizeof(header)}, {&value, sizeof(value)}};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
  }

  // A place in ring memory, or null.
  u8* place(u64 address, u64 size) const {
    for (const Region& region : regions_) {
      if (address >= region.address && size <= region.size && address - region.address <= region.size - size)
        return region.base + (address - region.address);
    }
    return nullptr;
  }
  template <class T>
  T load(u64 address) const {
    const u8* at = place(address, sizeof(T));
    return at == nullptr ? T{} : value_at<T>(at);
  }
  template <class T>
  void store(u64 address, T value) const {
    u8* at = place(address, sizeof(T));
    if (at != nullptr) std::memcpy(at, &value, sizeof(T));
  }

  static void call(const Ring& ring) {
    const u64 one = 1;
    if (ring.call.is_valid()) std::ignore = ::write(ring.call.get(), &one, sizeof(one));
  }

  // Answers the next request that is available.
  void complete(Ring& ring, u32 length) {
    if (ring.size == 0 || ring.served == load<u16>(ring.available + 2)) return;
    const auto head = load<u16>(ring.available + 4 + 2 * (ring.served++ % ring.size));
    const auto used = load<u16>(ring.used + 2);
    store<u32>(ring.used + 4 + 8 * (used % ring.size), head);
    store<u32>(ring.used + 8 + 8 * (used % ring.size), length);
    store<u16>(ring.used + 2, static_cast<u16>(used + 1));
  }

  void scribble(const Ring& ring, FuzzedDataProvider& input) const {
    const u64 area = input.PickValueInArray({ring.descriptors, ring.available, ring.used});
    store<u16>(area + 2 * input.ConsumeIntegralInRange<u64>(0, 300), input.ConsumeIntegral<u16>());
  }

  void say(FuzzedDataProvider& input) const {
    const std::vector<u8> bytes = input.ConsumeBytes<u8>(input.ConsumeIntegralInRange<std::size_t>(1, 40));
    std::ignore = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void hang_up(FuzzedDataProvider& input) const {
    if (input.ConsumeIntegralInRange(0, 7) == 0) ::shutdown(socket_.get(), SHUT_RDWR);
  }

  Nature nature_;
  UniqueFd client_;
  UniqueFd socket_;
  std::mutex mutex_;  // everything below
  unsigned answers_ = 0;
  std::vector<Region> regions_;
  std::array<Ring, 2> rings_;
  std::thread thread_;
};

}  // namespace doppel::fuzz
