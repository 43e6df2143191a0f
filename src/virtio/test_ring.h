// TestRing: the driver's side of a virtqueue, for tests: split and packed, written apart from the device's
// side.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/verify.h"
#include "memory/guest_memory.h"

namespace doppel {

// One piece of a buffer that a test makes available.
struct TestPiece {
  GuestPhys address;
  u32 length = 0;
  bool is_writable = false;
};

// What came back.
struct TestUsed {
  u16 id;
  u32 written;
};

// Guest RAM for a test's rings and buffers, handed out once.
class TestAllocator {
 public:
  TestAllocator(GuestMemory& memory, u64 start) : memory_(memory), next_(start) {}
  GuestPhys allocate(u64 size, u64 alignment = 16) {
    const u64 start = align_up(next_, alignment);
    next_ = start + size;
    VERIFY(memory_.is_ram(GuestPhys(start), size));
    return GuestPhys(start);
  }

 private:
  GuestMemory& memory_;
  u64 next_;
};

// A queue of `size` entries in guest RAM. Owned by a TestDriver. Ids are those of free descriptors or
// buffers.
class TestRing {
 public:
  TestRing(GuestMemory& memory, TestAllocator& allocator, u16 queue_size)
      : memory_(memory), allocator_(allocator), size_(queue_size) {
    for (u16 id = 0; id < size_; ++id) free_.push_back(static_cast<u16>(size_ - 1 - id));
  }
  virtual ~TestRing() = default;

  // Makes a buffer available, or nothing when there is no room.
  virtual std::optional<u16> add(std::span<const TestPiece> pieces, bool is_indirect = false) = 0;
  virtual std::optional<TestUsed> take() = 0;
  // Does the device want to hear of what was added since this was asked last?
  virtual bool wants_kick() = 0;
  virtual void set_interrupts(bool is_wanted) = 0;
  // With event indices: interrupt once this many more buffers are used (split), slots (packed).
  virtual void interrupt_after(u16 more) = 0;

  u16 size() const { return size_; }
  GuestPhys descriptors;
  GuestPhys driver;
  GuestPhys device;
  bool has_event_index = false;

 protected:
  u16 get16(GuestPhys at) const { return *memory_.read_value<u16>(at); }
  u32 get32(GuestPhys at) const { return *memory_.read_value<u32>(at); }
  void put16(GuestPhys at, u16 value) { memory_.write_value(at, value); }
  void put_descriptor(GuestPhys at, const TestPiece& piece, u16 third, u16 fourth) {
    memory_.write_value(at, piece.address.value());
    memory_.write_value(at + 8, piece.length);
    put16(at + 12, third);
    put16(at + 14, fourth);
  }

  GuestMemory& memory_;
  TestAllocator& allocator_;
  u16 size_;
  std::vector<u16> free_;
};

// 2.7.
class TestSplitRing final : public TestRing {
 public:
  TestSplitRing(GuestMemory& memory, TestAllocator& allocator, u16 queue_size)
      : TestRing(memory, allocator, queue_size), chains_(queue_size) {
    descriptors = allocator.allocate(16 * u64{queue_size});
    driver = allocator.allocate(6 + 2 * u64{queue_size});
    device = allocator.allocate(6 + 8 * u64{queue_size});
  }

  std::optional<u16> add(std::span<const TestPiece> pieces, bool is_indirect) override {
    const std::size_t needed = is_indirect ? 1 : pieces.size();
    if (free_.size() < needed) return std::nullopt;
    std::vector<u16> chain;
    for (std::size_t i = 0; i < needed; ++i) {
      chain.push_back(free_.back());
      free_.pop_back();
    }
    if (is_indirect) {
      const GuestPhys table = allocator_.allocate(16 * pieces.size());
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        put_descriptor(table + 16 * i, pieces[i], flags(pieces, i), static_cast<u16>(i + 1));
      }
      put_descriptor(descriptors + 16 * u64{chain[0]}, {table, static_cast<u32>(16 * pieces.size())}, 4, 0);
    } else {
      for (std::size_t i = 0; i < needed; ++i) {
        put_descriptor(descriptors + 16 * u64{chain[i]}, pieces[i], flags(pieces, i),
                       i + 1 < needed ? chain[i + 1] : u16{0});
      }
    }
    const u16 head = chain[0];
    chains_[head] = chain;
    put16(driver + 4 + u64{2} * (available_ % size_), head);
    put16(driver + 2, ++available_);
    return head;
  }

  std::optional<TestUsed> take() override {
    if (get16(device + 2) == used_) return std::nullopt;
    const GuestPhys element = device + 4 + u64{8} * (used_++ % size_);
    const TestUsed used{static_cast<u16>(get32(element)), get32(element + 4)};
    free_.insert(free_.end(), chains_[used.id].begin(), chains_[used.id].end());
    chains_[used.id].clear();
    return used;
  }

  bool wants_kick() override {
    const u16 old = kicked_;
    kicked_ = available_;
    if (!has_event_index) return get16(device) == 0;
    const u16 event = get16(device + 4 + 8 * u64{size_});
    for (u16 index = old; index != available_; ++index) {
      if (index == event) return true;
    }
    return false;
  }

  void set_interrupts(bool is_wanted) override { put16(driver, is_wanted ? 0 : 1); }
  void interrupt_after(u16 more) override {
    put16(driver + 4 + 2 * u64{size_}, static_cast<u16>(used_ + more - 1));
  }

 private:
  static u16 flags(std::span<const TestPiece> pieces, std::size_t i) {
    return static_cast<u16>((i + 1 < pieces.size() ? 1 : 0) | (pieces[i].is_writable ? 2 : 0));
  }

  std::vector<std::vector<u16>> chains_;  // by head
  u16 available_ = 0;
  u16 kicked_ = 0;
  u16 used_ = 0;
};

// 2.8.
class TestPackedRing final : public TestRing {
 public:
  TestPackedRing(GuestMemory& memory, TestAllocator& allocator, u16 queue_size)
      : TestRing(memory, allocator, queue_size), slots_(queue_size), free_slots_(queue_size) {
    descriptors = allocator.allocate(16 * u64{queue_size});
    driver = allocator.allocate(4);
    device = allocator.allocate(4);
  }

  std::optional<u16> add(std::span<const TestPiece> pieces, bool is_indirect) override {
    const std::size_t needed = is_indirect ? 1 : pieces.size();
    if (free_slots_ < needed || free_.empty()) return std::nullopt;
    const u16 id = free_.back();
    free_.pop_back();
    slots_[id] = static_cast<u16>(needed);
    free_slots_ -= needed;
    const u64 first = next_;
    const bool first_wrap = available_wrap_;
    if (is_indirect) {
      const GuestPhys table = allocator_.allocate(16 * pieces.size());
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        put_descriptor(table + 16 * i, pieces[i], 0, pieces[i].is_writable ? 2 : 0);
      }
      put_slot({table, static_cast<u32>(16 * pieces.size())}, id, 4, false);
    } else {
      for (std::size_t i = 0; i < needed; ++i) {
        put_slot(pieces[i], id, static_cast<u16>(i + 1 < needed ? 1 : 0), i != 0);
      }
    }
    // The first slot's flags last, 2.8.21.
    const GuestPhys flags_at = descriptors + 16 * first + 14;
    put16(flags_at, static_cast<u16>((get16(flags_at) & ~0x8080) | (first_wrap ? 0x80 : 0x8000)));
    added_ += static_cast<u32>(needed);
    return id;
  }

  std::optional<TestUsed> take() override {
    const GuestPhys slot = descriptors + u64{16} * used_;
    const u16 flags = get16(slot + 14);
    if (((flags & 0x80) != 0) != used_wrap_ || ((flags & 0x8000) != 0) != used_wrap_) return std::nullopt;
    const TestUsed used{get16(slot + 12), get32(slot + 8)};
    VERIFY(used.id < size_ && slots_[used.id] != 0);
    free_.push_back(used.id);
    free_slots_ += slots_[used.id];
    used_ = static_cast<u16>(used_ + slots_[used.id]);
    slots_[used.id] = 0;
    if (used_ >= size_) {
      used_ = static_cast<u16>(used_ - size_);
      used_wrap_ = !used_wrap_;
    }
    return used;
  }

  bool wants_kick() override {
    const u32 added = added_;
    added_ = 0;
    const u16 flags = get16(device + 2);
    if (flags != 2) return flags == 0;
    const u16 event = get16(device);
    // Walks back over what was added.
    u16 slot = next_;
    bool wrap = available_wrap_;
    for (u32 i = 0; i < added; ++i) {
      if (slot == 0) wrap = !wrap;
      slot = static_cast<u16>(slot == 0 ? size_ - 1 : slot - 1);
      if (event == (slot | (wrap ? 0x8000 : 0))) return true;
    }
    return false;
  }

  void set_interrupts(bool is_wanted) override { put16(driver + 2, is_wanted ? 0 : 1); }
  void interrupt_after(u16 more) override {
    u16 slot = static_cast<u16>(used_ + more - 1);
    bool wrap = used_wrap_;
    if (slot >= size_) {
      slot = static_cast<u16>(slot - size_);
      wrap = !wrap;
    }
    put16(driver, static_cast<u16>(slot | (wrap ? 0x8000 : 0)));
    put16(driver + 2, 2);
  }

 private:
  void put_slot(const TestPiece& piece, u16 id, u16 flags, bool is_visible) {
    const bool wrap = is_visible == available_wrap_;
    put_descriptor(descriptors + u64{16} * next_, piece, id,
                   static_cast<u16>(flags | (piece.is_writable ? 2 : 0) | (wrap ? 0x80 : 0x8000)));
    if (++next_ == size_) {
      next_ = 0;
      available_wrap_ = !available_wrap_;
    }
  }

  std::vector<u16> slots_;  // by id: slots in flight
  std::size_t free_slots_;
  u16 next_ = 0;
  bool available_wrap_ = true;
  u16 used_ = 0;
  bool used_wrap_ = true;
  u32 added_ = 0;
};

}  // namespace doppel
