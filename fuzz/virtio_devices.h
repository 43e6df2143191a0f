// The virtio devices that the fuzz target attacks, with back ends that need nothing from the host.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "devices/virtio_balloon.h"
#include "devices/virtio_block.h"
#include "devices/virtio_console.h"
#include "devices/virtio_fs.h"
#include "devices/virtio_net.h"
#include "devices/virtio_rng.h"
#include "devices/virtio_vsock.h"
#include "fuzz/vhost_peer.h"
#include "fuzz/vsock_peer.h"

namespace doppel::fuzz {

// A disk in memory that completes at once or later. Owned by its device.
class MemoryDisk final : public BlockBackend {
 public:
  explicit MemoryDisk(bool completes_at_once) : completes_at_once_(completes_at_once), bytes_(kSize) {}

  const BlockLimits& limits() const override { return limits_; }
  void set_client(BlockClient& client) override { client_ = &client; }
  void submit(BlockRequest& request) override {
    held_.push_back(&request);
    if (completes_at_once_) complete_one();
  }
  void flush_submissions() override {}
  void drain() override {
    while (!held_.empty()) complete_one();
  }
  void abandon() override { held_.clear(); }

  void complete_some() {
    for (int i = 0; i < 2 && !held_.empty(); ++i) complete_one();
    client_->batch_completed();
  }

 private:
  static constexpr u64 kSize = 64 * kKiB;

  void complete_one() {
    BlockRequest& request = *held_.front();
    held_.pop_front();
    VERIFY(request.offset <= kSize && request.length <= kSize - request.offset);
    u8* place = bytes_.data() + request.offset;
    u64 left = request.length;
    for (const iovec& piece : request.memory) {
      VERIFY(piece.iov_len <= left);
      if (request.operation == BlockOperation::kRead) std::memcpy(piece.iov_base, place, piece.iov_len);
      if (request.operation == BlockOperation::kWrite) std::memmove(place, piece.iov_base, piece.iov_len);
      place += piece.iov_len;
      left -= piece.iov_len;
    }
    client_->request_completed(request, BlockStatus::kOk);
  }

  bool completes_at_once_;
  BlockLimits limits_{.size = kSize, .can_discard = true, .can_write_zeroes = true};
  std::vector<u8> bytes_;
  std::deque<BlockRequest*> held_;
  BlockClient* client_ = nullptr;
};

// A network that looks at every byte it is sent, and sends frames when told. Owned by its device.
class MemoryNet final : public NetBackend {
 public:
  const NetLimits& limits() const override { return limits_; }
  bool is_link_up() const override { return true; }
  void set_receiver(NetReceiver* receiver) override { receiver_ = receiver; }
  void configure(const NetDriverSettings&) override {}
  void send(unsigned, const NetHeader&, std::span<const iovec> frame) override {
    u64 size = 0;
    for (const iovec& piece : frame) {
      const u8* bytes = static_cast<const u8*>(piece.iov_base);
      size += piece.iov_len;
      for (std::size_t i = 0; i < piece.iov_len; i += 64) sum_ += bytes[i];
    }
    VERIFY(size <= kMaxFrameSize);
  }
  void receive_ready(unsigned) override {}

  void deliver(std::size_t size) {
    if (receiver_ == nullptr) return;
    const std::vector<u8> frame(std::clamp(size, kEthernetHeaderSize, kMaxFrameSize), 0xff);
    receiver_->receive(0, {}, frame);
    receiver_->receive_done();
  }

 private:
  static constexpr NetOffloads kAll{.checksum = true, .tso4 = true, .tso6 = true, .ufo = true, .uso = true};
  NetLimits limits_{.from_guest = kAll, .to_guest = kAll};
  NetReceiver* receiver_ = nullptr;
  u64 sum_ = 0;
};

// What devices stand on. Everything outlives them.
struct World {
  GuestMemory& memory;
  TimerQueue& timers;
  EventLoop& loop;
  FuzzedDataProvider& input;
};

// One device, and the parts of it that the outside can move. No device: what it needs refused it.
struct Target {
  std::unique_ptr<VirtioDevice> device = nullptr;
  MemoryDisk* disk = nullptr;
  MemoryNet* net = nullptr;
  VirtioConsole* console = nullptr;
  VirtioBalloon* balloon = nullptr;
  std::unique_ptr<VsockPeer> vsock = nullptr;
  std::unique_ptr<VhostPeer> daemon = nullptr;
};

inline Target make_rng(World& world) {
  const RateLimit limit =
      world.input.ConsumeBool() ? RateLimit{.per_second = 1000, .burst = 100} : RateLimit{};
  return {.device = std::make_unique<VirtioRng>(world.timers, limit)};
}

inline Target make_block(World& world) {
  const bool completes_at_once = world.input.ConsumeBool();
  auto disk = std::make_unique<MemoryDisk>(completes_at_once);
  MemoryDisk* view = disk.get();
  const VirtioBlockConfig config{
      .serial = "fuzz", .queues = 2, .bandwidth = completes_at_once ? 0 : 100'000u};
  return {.device = std::make_unique<VirtioBlock>(std::move(disk), config, world.timers), .disk = view};
}

inline Target make_net(World& world) {
  auto net = std::make_unique<MemoryNet>();
  MemoryNet* view = net.get();
  const VirtioNetSettings settings{.mac = {2, 0, 0, 0, 0, 1}, .queue_pairs = 2};
  return {.device = std::make_unique<VirtioNet>(settings, std::move(net), world.timers), .net = view};
}

inline Target make_console(World& world) {
  auto console = std::make_unique<VirtioConsole>(
      std::vector<ConsolePortConfig>{{.name = "main", .is_console = true}, {.name = "agent"}}, world.timers);
  VirtioConsole* view = console.get();
  return {.device = std::move(console), .console = view};
}

inline Target make_balloon(World& world) {
  auto balloon = std::make_unique<VirtioBalloon>(BalloonConfig{.target_pages = 100}, world.timers);
  VirtioBalloon* view = balloon.get();
  return {.device = std::move(balloon), .balloon = view};
}

inline Target make_vsock(World& world) {
  auto peer = std::make_unique<VsockPeer>();
  auto device = VirtioVsock::create({.path = peer->path(), .guest_cid = VsockPeer::kGuestCid}, world.loop);
  VERIFY(device.has_value());
  return {.device = std::move(*device), .vsock = std::move(peer)};
}

// A daemon that is honest or not; one that is not may not even get as far as a device.
inline Target make_fs(World& world) {
  constexpr u64 kUsual = u64{1} << 32 | u64{1} << 30;
  VhostPeer::Nature nature{.features = kUsual};
  if (world.input.ConsumeIntegralInRange(0, 3) == 0) {
    nature = {.features = world.input.ConsumeBool() ? kUsual : world.input.ConsumeIntegral<u64>(),
              .good_answers = world.input.ConsumeIntegralInRange(0u, 6u),
              .then = world.input.ConsumeEnum<VhostPeer::Manner>()};
  }
  Target target;
  target.daemon = std::make_unique<VhostPeer>(nature);
  auto daemon = VhostUser::over("fuzz", target.daemon->client());
  if (!daemon) return target;
  auto device = VirtioFs::create("fuzz", std::move(*daemon), world.memory, world.loop);
  if (device) target.device = std::move(*device);
  return target;
}

// One for each row of the registry, by its option; a unit test of devices/ compares them.
struct TargetKind {
  std::string_view option;
  Target (*make)(World& world);
};
inline constexpr auto kTargetKinds = std::to_array<TargetKind>({{"--disk", make_block},
                                                                {"--net", make_net},
                                                                {"--vsock", make_vsock},
                                                                {"--share", make_fs},
                                                                {"--rng", make_rng},
                                                                {"--balloon", make_balloon},
                                                                {"--console", make_console}});

}  // namespace doppel::fuzz
