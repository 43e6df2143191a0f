// ShadowRing: a split ring of the machine's own, through which another process serves a guest's queue.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "virtio/descriptor_chain.h"
#include "virtio/ring_layout.h"

namespace doppel {

// The driver's side of a ring in shared memory. The machine takes validated chains from the guest's queue and
// makes them available here, so that the other process sees no ring of the guest's, and the machine sees each
// buffer before and after it is written. What the other process writes is not trusted. Owned by a device;
// called with the device lock held.
class ShadowRing {
 public:
  // `size` is the number of descriptors, a power of two.
  static Result<std::unique_ptr<ShadowRing>> create(u16 size);
  ~ShadowRing();
  ShadowRing(const ShadowRing&) = delete;
  ShadowRing& operator=(const ShadowRing&) = delete;

  int memory_fd() const { return memory_.get(); }
  u64 memory_size() const { return memory_size_; }
  u16 size() const { return size_; }
  // Offsets of the three areas in that memory.
  static constexpr u64 kDescriptorsAt = 0;
  u64 available_at() const { return u64{size_} * sizeof(SplitDescriptor); }
  u64 used_at() const;

  // Nothing in flight, indices at 0.
  void reset();
  bool has_room(const DescriptorChain& chain) const;
  // Makes a chain available that has_room(); its pieces are named by their guest-physical addresses. Owns it
  // until take().
  void add(DescriptorChain chain, const GuestMemory& memory);
  // Does the other side want a kick for what was added?
  bool wants_kick() const;

  struct Answer {
    DescriptorChain chain;
    u32 written;
  };
  // The next chain that the other side is done with. Sets is_broken() when it names none of ours.
  std::optional<Answer> take();
  bool is_broken() const { return is_broken_; }
  std::vector<const DescriptorChain*> in_flight() const;
  // Takes back what is in flight, in no order: only once the other side has stopped.
  std::vector<DescriptorChain> take_all();

 private:
  static constexpr u16 kNone = 0xffff;

  ShadowRing(u16 size, UniqueFd memory, u64 memory_size, u8* base);
  SplitDescriptor& descriptor(u16 index) const;
  u16& half(u64 offset) const;
  u16 link_piece(const iovec& piece, const GuestMemory& memory, u16 flags);
  void release(u16 head);

  u16 size_;
  UniqueFd memory_;
  u64 memory_size_;
  u8* base_;
  // Our own record of the descriptors, which the other side cannot change.
  std::vector<u16> next_;  // of a chain or of the free list
  u16 first_free_ = 0;
  u16 free_count_ = 0;
  std::vector<std::optional<DescriptorChain>> in_flight_;  // by head
  u16 available_index_ = 0;
  u16 used_index_ = 0;
  bool is_broken_ = false;
};

}  // namespace doppel
