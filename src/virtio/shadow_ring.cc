// The driver's half of a split ring. virtio 1.2 section 2.7.
#include "virtio/shadow_ring.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "base/verify.h"

namespace doppel {

namespace {

constexpr u64 kRingHeader = 4;  // flags and idx
constexpr u64 kUsedElement = 8;
constexpr u16 kUsedNoNotify = 1;

u64 used_offset(u16 size) {
  return align_up(u64{size} * sizeof(SplitDescriptor) + kRingHeader + 2 * u64{size} + 2, 16);
}

}  // namespace

Result<std::unique_ptr<ShadowRing>> ShadowRing::create(u16 size) {
  VERIFY(size != 0 && (size & (size - 1)) == 0 && size < kNone);
  const u64 bytes = align_up(used_offset(size) + kRingHeader + kUsedElement * size + 2, kPageSize);
  UniqueFd memory(::memfd_create("shadow-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.is_valid() || ::ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail("shadow ring: {}", std::strerror(errno));
  }
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (base == MAP_FAILED) return fail("shadow ring: {}", std::strerror(errno));
  return std::unique_ptr<ShadowRing>(new ShadowRing(size, std::move(memory), bytes, static_cast<u8*>(base)));
}

ShadowRing::ShadowRing(u16 size, UniqueFd memory, u64 memory_size, u8* base)
    : size_(size),
      memory_(std::move(memory)),
      memory_size_(memory_size),
      base_(base),
      next_(size),
      in_flight_(size) {
  reset();
}

ShadowRing::~ShadowRing() { ::munmap(base_, memory_size_); }

u64 ShadowRing::used_at() const { return used_offset(size_); }

SplitDescriptor& ShadowRing::descriptor(u16 index) const {
  return reinterpret_cast<SplitDescriptor*>(base_ + kDescriptorsAt)[index];
}

u16& ShadowRing::half(u64 offset) const { return *reinterpret_cast<u16*>(base_ + offset); }

void ShadowRing::reset() {
  std::memset(base_, 0, memory_size_);
  for (auto& chain : in_flight_) chain.reset();
  std::iota(next_.begin(), next_.end(), u16{1});
  next_.back() = kNone;
  first_free_ = 0;
  free_count_ = size_;
  available_index_ = used_index_ = 0;
  is_broken_ = false;
}

bool ShadowRing::has_room(const DescriptorChain& chain) const {
  return chain.readable().size() + chain.writable().size() <= free_count_;
}

u16 ShadowRing::link_piece(const iovec& piece, const GuestMemory& memory, u16 flags) {
  const u16 index = first_free_;
  first_free_ = next_[index];
  --free_count_;
  const u64 address = static_cast<u64>(static_cast<const u8*>(piece.iov_base) - memory.host(GuestPhys(0)));
  descriptor(index) = {address, static_cast<u32>(piece.iov_len), flags, first_free_};
  return index;
}

void ShadowRing::add(DescriptorChain chain, const GuestMemory& memory) {
  VERIFY(has_room(chain));
  if (chain.readable().empty() && chain.writable().empty()) return;
  const u16 head = first_free_;
  u16 last = head;
  for (const iovec& piece : chain.readable()) last = link_piece(piece, memory, kDescriptorNext);
  for (const iovec& piece : chain.writable()) {
    last = link_piece(piece, memory, kDescriptorNext | kDescriptorWrite);
  }
  descriptor(last).flags &= static_cast<u16>(~kDescriptorNext);
  next_[last] = kNone;
  in_flight_[head] = std::move(chain);
  half(available_at() + kRingHeader + 2 * u64{available_index_ & (size_ - 1u)}) = head;
  ++available_index_;
  std::atomic_ref(half(available_at() + 2)).store(available_index_, std::memory_order_release);
}

bool ShadowRing::wants_kick() const {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return (std::atomic_ref(half(used_at())).load(std::memory_order_relaxed) & kUsedNoNotify) == 0;
}

void ShadowRing::release(u16 head) {
  u16 last = head;
  u16 count = 1;
  for (; next_[last] != kNone; ++count) last = next_[last];
  next_[last] = first_free_;
  first_free_ = head;
  free_count_ += count;
}

std::optional<ShadowRing::Answer> ShadowRing::take() {
  if (is_broken_) return std::nullopt;
  const u16 index = std::atomic_ref(half(used_at() + 2)).load(std::memory_order_acquire);
  if (index == used_index_) return std::nullopt;
  u32 element[2];  // head and length
  const u64 at = used_at() + kRingHeader + kUsedElement * (used_index_ & (size_ - 1u));
  std::memcpy(element, base_ + at, sizeof(element));
  if (element[0] >= size_ || !in_flight_[element[0]]) {
    is_broken_ = true;
    return std::nullopt;
  }
  ++used_index_;
  const u16 head = static_cast<u16>(element[0]);
  Answer answer{std::move(*in_flight_[head]), element[1]};
  in_flight_[head].reset();
  release(head);
  answer.written = static_cast<u32>(std::min<u64>(answer.written, answer.chain.writable_size()));
  return answer;
}

std::vector<const DescriptorChain*> ShadowRing::in_flight() const {
  std::vector<const DescriptorChain*> chains;
  for (const auto& chain : in_flight_) {
    if (chain) chains.push_back(&*chain);
  }
  return chains;
}

std::vector<DescriptorChain> ShadowRing::take_all() {
  std::vector<DescriptorChain> chains;
  for (auto& chain : in_flight_) {
    if (chain) chains.push_back(std::move(*chain));
  }
  reset();
  return chains;
}

}  // namespace doppel
