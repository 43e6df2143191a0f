// Tests the driver's half of a ring against a device's half written here.
#include "virtio/shadow_ring.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace doppel {
namespace {

constexpr u16 kSize = 8;

struct ShadowRingTest : testing::Test {
  ShadowRingTest() {
    base = static_cast<u8*>(
        ::mmap(nullptr, ring->memory_size(), PROT_READ | PROT_WRITE, MAP_SHARED, ring->memory_fd(), 0));
  }
  ~ShadowRingTest() override { ::munmap(base, ring->memory_size()); }

  DescriptorChain chain(u16 id, u64 address = 0x1000) {
    DescriptorChain result(*memory);
    result.append(GuestPhys(address), 100, false);
    result.append(GuestPhys(address + 0x1000), 200, true);
    result.set_token({id, 1});
    return result;
  }
  u16& half(u64 offset) const { return *reinterpret_cast<u16*>(base + offset); }
  SplitDescriptor descriptor(u16 index) const {
    return reinterpret_cast<const SplitDescriptor*>(base)[index];
  }
  u16 available(u16 position) const { return half(ring->available_at() + 4 + 2u * position); }
  void answer(u32 head, u32 length) {
    const u16 index = half(ring->used_at() + 2);
    const u32 element[2] = {head, length};
    std::memcpy(base + ring->used_at() + 4 + 8u * (index % kSize), element, sizeof(element));
    half(ring->used_at() + 2) = static_cast<u16>(index + 1);
  }

  std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(kMiB));
  std::unique_ptr<ShadowRing> ring = std::move(*ShadowRing::create(kSize));
  u8* base;
};

TEST_F(ShadowRingTest, NamesPiecesByGuestAddress) {
  ring->add(chain(5), *memory);

  EXPECT_EQ(half(ring->available_at() + 2), 1);
  const SplitDescriptor first = descriptor(available(0));
  EXPECT_EQ(first.address, 0x1000u);
  EXPECT_EQ(first.length, 100u);
  EXPECT_EQ(first.flags, kDescriptorNext);
  const SplitDescriptor second = descriptor(first.next);
  EXPECT_EQ(second.address, 0x2000u);
  EXPECT_EQ(second.flags, kDescriptorWrite);
}

TEST_F(ShadowRingTest, GivesChainsBackInTheOrderOfAnswers) {
  ring->add(chain(1), *memory);
  ring->add(chain(2, 0x8000), *memory);
  EXPECT_FALSE(ring->take());
  answer(available(1), 7);
  answer(available(0), 200);

  const auto first = ring->take();
  const auto second = ring->take();

  EXPECT_EQ(first->chain.token().id, 2);
  EXPECT_EQ(first->written, 7u);
  EXPECT_EQ(second->chain.token().id, 1);
  EXPECT_FALSE(ring->take());
}

TEST_F(ShadowRingTest, HasNoRoomUntilChainsComeBack) {
  for (u16 id = 0; id < 4; ++id) ring->add(chain(id), *memory);
  EXPECT_FALSE(ring->has_room(chain(9)));
  answer(available(2), 0);
  ASSERT_TRUE(ring->take());
  EXPECT_TRUE(ring->has_room(chain(9)));
  ring->add(chain(9), *memory);
  EXPECT_EQ(ring->in_flight().size(), 4u);
}

TEST_F(ShadowRingTest, AnAnswerToNothingBreaksTheRing) {
  ring->add(chain(1), *memory);
  answer(available(0) + 1u, 0);
  EXPECT_FALSE(ring->take());
  EXPECT_TRUE(ring->is_broken());
  EXPECT_EQ(ring->take_all().size(), 1u);
  EXPECT_FALSE(ring->is_broken());
}

TEST_F(ShadowRingTest, AnIndexBeyondTheRingBreaksIt) {
  answer(kSize, 0);
  EXPECT_FALSE(ring->take());
  EXPECT_TRUE(ring->is_broken());
}

TEST_F(ShadowRingTest, CutsALengthThatIsTooLarge) {
  ring->add(chain(1), *memory);
  answer(available(0), ~0u);
  EXPECT_EQ(ring->take()->written, 200u);
}

TEST_F(ShadowRingTest, OurRecordHoldsWhateverTheOtherSideWrites) {
  ring->add(chain(1), *memory);
  const u16 head = available(0);
  std::memset(base, 0xff, kSize * sizeof(SplitDescriptor));
  answer(head, 1);
  EXPECT_EQ(ring->take()->chain.token().id, 1);
  for (u16 id = 0; id < 4; ++id) ring->add(chain(id), *memory);
  EXPECT_EQ(ring->in_flight().size(), 4u);
}

TEST_F(ShadowRingTest, ObeysTheNoNotifyFlag) {
  EXPECT_TRUE(ring->wants_kick());
  half(ring->used_at()) = 1;
  EXPECT_FALSE(ring->wants_kick());
}

}  // namespace
}  // namespace doppel
