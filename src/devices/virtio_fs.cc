// Forwarding of FUSE requests to the daemon.
#include "devices/virtio_fs.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace doppel {

namespace {

// Where the daemon finds the rings: above every guest-physical address there can be.
constexpr u64 kRingsAddress = u64{1} << 52;
constexpr u64 kRingStride = u64{1} << 24;

constexpr u64 kConfigQueues = VirtioFs::kMaxTag;  // le32 behind the tag

// The first fields of struct fuse_in_header and struct fuse_out_header (linux/fuse.h).
struct FuseRequest {
  u32 length;
  u32 opcode;
  u64 unique;
};
struct FuseAnswer {
  u32 length;
  i32 error;  // a negative errno
  u64 unique;
};
static_assert(sizeof(FuseAnswer) == 16);

}  // namespace

VirtioFs::VirtioFs(const std::string& tag, VhostUser daemon, GuestMemory& memory, EventLoop& loop)
    : tag_(tag), daemon_(std::move(daemon)), memory_(memory), loop_(loop) {}

VirtioFs::~VirtioFs() = default;

Result<std::unique_ptr<VirtioFs>> VirtioFs::create(const std::string& tag, const std::string& socket_path,
                                                   GuestMemory& memory, EventLoop& loop) {
  return create(tag, TRY(VhostUser::connect(socket_path)), memory, loop);
}

Result<std::unique_ptr<VirtioFs>> VirtioFs::create(const std::string& tag, VhostUser daemon,
                                                   GuestMemory& memory, EventLoop& loop) {
  std::unique_ptr<VirtioFs> device(new VirtioFs(tag, std::move(daemon), memory, loop));
  TRY_VOID(device->make_channels());
  return device;
}

Result<void> VirtioFs::make_channels() {
  std::vector<VhostUserRegion> regions = {{0, memory_.low_size(), memory_.memfd(), 0}};
  if (memory_.high_size() != 0) {
    regions.push_back({GuestMemory::kHighRamStart, memory_.high_size(), memory_.memfd(), memory_.low_size()});
  }
  for (unsigned index = 0; index < kQueues; ++index) {
    Channel& channel = channels_[index];
    channel.ring = TRY(ShadowRing::create(kRingSize));
    channel.kick = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    channel.call = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!channel.kick.is_valid() || !channel.call.is_valid())
      return fail("eventfd: {}", std::strerror(errno));
    regions.push_back({ring_address(index), channel.ring->memory_size(), channel.ring->memory_fd(), 0});
    channel.watch =
        std::make_unique<FdWatch>(loop_, channel.call.get(), POLLIN, [this, index](short) { called(index); });
  }
  daemon_watch_ = std::make_unique<FdWatch>(loop_, daemon_.fd(), POLLIN, [this](short) {
    // What the loop saw may have been an answer that was read since.
    if (!daemon_.is_connected()) daemon_failed("it closed the connection");
  });
  TRY_VOID(daemon_.set_features(daemon_.features() & (u64{1} << 32)));
  return daemon_.set_memory(regions);
}

u64 VirtioFs::ring_address(unsigned index) const { return kRingsAddress + index * kRingStride; }

void VirtioFs::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, kMaxTag + sizeof(u32)> config = {};
  std::ranges::copy(tag_, config.begin());
  config[kConfigQueues] = kQueues - 1;
  for (u8& byte : data) byte = offset < config.size() ? config[offset++] : u8{0};
}

void VirtioFs::activate(VirtioHost& host, u64) {
  host_ = &host;
  for (unsigned index = 0; index < kQueues && is_daemon_alive_; ++index) {
    if (!host_->queue(index).is_enabled()) continue;
    if (const auto started = start_channel(index); !started) daemon_failed(started.error().message);
  }
}

Result<void> VirtioFs::start_channel(unsigned index) {
  Channel& channel = channels_[index];
  const ShadowRing& ring = *channel.ring;
  const u64 base = ring_address(index);
  TRY_VOID(
      daemon_.start_ring({index, ring.size(), base + ShadowRing::kDescriptorsAt, base + ring.available_at(),
                          base + ring.used_at(), channel.kick.get(), channel.call.get()}));
  channel.is_started = true;
  return {};
}

void VirtioFs::deactivate() {
  host_ = nullptr;
  lost_.clear();
  for (unsigned index = 0; index < kQueues; ++index) stop_channel(index);
}

void VirtioFs::queue_reset(unsigned index) {
  std::erase_if(lost_, [index](const auto& entry) { return entry.first == index; });
  stop_channel(index);
}

void VirtioFs::stop_channel(unsigned index) {
  Channel& channel = channels_[index];
  if (std::exchange(channel.is_started, false) && is_daemon_alive_) {
    if (const auto stopped = daemon_.stop_ring(index); !stopped) daemon_failed(stopped.error().message);
  }
  channel.ring->reset();
}

// All that is in flight and all that comes is answered with an error from now on.
void VirtioFs::daemon_failed(std::string_view why) {
  if (!std::exchange(is_daemon_alive_, false)) return;
  LOG_ERROR("share '{}': lost its daemon: {}", tag_, why);
  daemon_watch_.reset();
  for (unsigned index = 0; index < kQueues; ++index) {
    channels_[index].watch.reset();
    channels_[index].is_started = false;
    const auto chains = channels_[index].ring->take_all();
    if (host_ == nullptr) continue;
    for (const DescriptorChain& chain : chains) answer_with_error(index, chain);
    forward(index);
  }
}

void VirtioFs::queue_notified(unsigned index) { forward(index); }

void VirtioFs::forward(unsigned index) {
  VirtQueue& queue = host_->queue(index);
  Channel& channel = channels_[index];
  if (!channel.is_started && is_daemon_alive_) {
    if (const auto started = start_channel(index); !started) return daemon_failed(started.error().message);
  }
  bool is_anything_new = false;
  while (auto chain = queue.pop()) {
    const std::size_t pieces = chain->readable().size() + chain->writable().size();
    if (!channel.is_started || pieces == 0 || pieces > kRingSize) {
      answer_with_error(index, *chain);
      continue;
    }
    if (!channel.ring->has_room(*chain)) {
      queue.undo_pop(*chain);
      break;
    }
    chain->announce_writes(0, chain->writable_size());
    channel.ring->add(std::move(*chain), memory_);
    is_anything_new = true;
  }
  const u64 one = 1;
  if (is_anything_new && channel.ring->wants_kick()) {
    std::ignore = ::write(channel.kick.get(), &one, sizeof(one));
  }
}

void VirtioFs::called(unsigned index) {
  u64 count = 0;
  std::ignore = ::read(channels_[index].call.get(), &count, sizeof(count));
  if (host_ == nullptr) return;
  while (auto done = channels_[index].ring->take()) answer(index, done->chain, done->written);
  if (channels_[index].ring->is_broken()) return daemon_failed("it answered a request that was not made");
  forward(index);
}

void VirtioFs::answer(unsigned index, const DescriptorChain& chain, u32 written) {
  host_->queue(index).push(chain, written);
  host_->notify_queue(index);
}

void VirtioFs::answer_with_error(unsigned index, const DescriptorChain& chain) {
  const FuseRequest request = chain.read_value<FuseRequest>(0).value_or(FuseRequest{});
  const FuseAnswer error = {sizeof(FuseAnswer), -EIO, request.unique};
  answer(index, chain, chain.write_value(0, error) ? sizeof(error) : 0);
}

void VirtioFs::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  if (visitor.is_loading()) {
    load_in_flight(visitor);
  } else {
    visit_in_flight(visitor);
  }
  visitor.end();
}

// What the daemon has, and what a daemon elsewhere had and nobody has answered yet.
void VirtioFs::visit_in_flight(StateVisitor& visitor) {
  std::vector<std::pair<u8, DescriptorChain>> chains = lost_;
  for (u8 index = 0; index < kQueues; ++index) {
    for (const DescriptorChain* chain : channels_[index].ring->in_flight())
      chains.emplace_back(index, *chain);
  }
  auto count = static_cast<u32>(chains.size());
  visitor.field("in_flight", count);
  for (auto& [queue, chain] : chains) {
    visitor.field("queue", queue);
    host_->queue(queue).visit_chain(visitor, chain);
  }
}

void VirtioFs::load_in_flight(StateVisitor& visitor) {
  lost_.clear();
  u32 count = 0;
  visitor.field("in_flight", count);
  if (count > kQueues * u32{kRingSize} || (count != 0 && host_ == nullptr)) {
    return visitor.reject("share: impossible number of requests in flight");
  }
  for (u32 i = 0; i < count; ++i) {
    u8 queue = 0;
    DescriptorChain chain(memory_);
    visitor.field("queue", queue);
    if (queue >= kQueues) return visitor.reject("share: impossible queue");
    host_->queue(queue).visit_chain(visitor, chain);
    lost_.emplace_back(queue, std::move(chain));
  }
}

void VirtioFs::resume() {
  for (const auto& [queue, chain] : std::exchange(lost_, {})) answer_with_error(queue, chain);
}

Result<MadeVirtioDevice> make_virtio_fs(std::string_view value, const VirtioEnvironment& environment) {
  static constexpr OptionKey kKeys[] = {{"socket"}, {"id"}, kTransportKey, kRingKey};
  const OptionList options = TRY(OptionList::parse("--share", "a tag", value, kKeys));
  if (options.subject().size() > VirtioFs::kMaxTag) {
    return fail_usage("--share {}: a tag has at most {} characters", value, VirtioFs::kMaxTag);
  }
  if (!options.has("socket")) return fail_usage("--share {}: give the daemon's socket=PATH", value);
  if (environment.loop == nullptr) return fail_usage("--share {}: not with --clock instructions", value);
  const VirtioPlacement placement = TRY(parse_placement(options));
  auto device =
      TRY(VirtioFs::create(options.subject(), options.text("socket"), environment.memory, *environment.loop));
  return MadeVirtioDevice{std::move(device), placement, options.text("id")};
}

}  // namespace doppel
