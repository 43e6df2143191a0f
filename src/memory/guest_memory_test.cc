// Guest RAM: sizes, the hole, checked copies, code frames, saved contents.
#include "memory/guest_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "state/state_buffer.h"

namespace doppel {
namespace {

std::unique_ptr<GuestMemory> make_memory(u64 size = 2 * kMiB) {
  Result<std::unique_ptr<GuestMemory>> memory = GuestMemory::create(size);
  EXPECT_TRUE(memory) << memory.error().message;
  return std::move(*memory);
}

// Writes down which writes to code frames are announced. Owned by a test.
struct FakeUser final : CodeFrameUser {
  explicit FakeUser(GuestMemory& guest_memory)
      : memory(guest_memory), id(guest_memory.code_frames().add_user(*this)) {}
  void code_written(u64 frame, u64 start, u64 size) override {
    log += fmt::format("{:x}+{:x} ", (frame << kPageShift) + start, size);
  }
  void revoke_writes(u64) override {}
  void everything_written() override { log += "everything "; }
  void interrupt() override {}
  void mark(u64 address) const { memory.code_frames().mark(address >> kPageShift, id); }
  const std::string& read_mail() {
    memory.code_frames().handle_mail(id);
    return log;
  }

  GuestMemory& memory;
  CodeFrames::UserId id;
  std::string log;
};

std::vector<u8> save(GuestMemory& memory) {
  StateSaver saver;
  memory.visit_state(saver);
  return saver.take();
}

Result<void> load(GuestMemory& memory, const std::vector<u8>& state) {
  StateLoader loader(state);
  memory.visit_state(loader);
  return loader.finish();
}

TEST(GuestMemory, RefusesSizesBelowOneMebibyte) {
  EXPECT_TRUE(GuestMemory::create(0).error().is_usage);
  EXPECT_TRUE(GuestMemory::create(kMiB - kPageSize).error().is_usage);
  EXPECT_TRUE(GuestMemory::create(kMiB).has_value());
}

TEST(GuestMemory, RefusesPartsOfAPage) { EXPECT_TRUE(GuestMemory::create(2 * kMiB + 1).error().is_usage); }

TEST(GuestMemory, RefusesMoreThanTheHostCanBack) {
  EXPECT_TRUE(GuestMemory::create(u64{1} << 50).error().is_usage);
  EXPECT_TRUE(GuestMemory::create(~kPageOffsetMask).error().is_usage);
}

TEST(GuestMemory, EndsAtItsSize) {
  const auto memory = make_memory(2 * kMiB);
  EXPECT_TRUE(memory->is_ram(GuestPhys(0), 2 * kMiB));
  EXPECT_FALSE(memory->is_ram(GuestPhys(0), 2 * kMiB + 1));
  EXPECT_TRUE(memory->is_ram(GuestPhys(2 * kMiB - 1), 1));
  EXPECT_FALSE(memory->is_ram(GuestPhys(2 * kMiB), 1));
  EXPECT_FALSE(memory->is_ram(GuestPhys(4 * kGiB), 1));
}

TEST(GuestMemory, IsNotFooledByLengthsThatWrap) {
  const auto memory = make_memory();
  EXPECT_FALSE(memory->is_ram(GuestPhys(0x1000), ~u64{0}));
  EXPECT_FALSE(memory->is_ram(GuestPhys(~u64{0}), 2));
}

TEST(GuestMemory, LeavesAHoleBetweenThreeAndFourGibibytes) {
  const auto memory = make_memory(3 * kGiB + kMiB);
  EXPECT_EQ(memory->low_size(), 3 * kGiB);
  EXPECT_EQ(memory->high_size(), kMiB);
  EXPECT_TRUE(memory->is_ram(GuestPhys(3 * kGiB - 1), 1));
  EXPECT_FALSE(memory->is_ram(GuestPhys(3 * kGiB - 1), 2));
  EXPECT_FALSE(memory->is_ram(GuestPhys(3 * kGiB), 1));
  EXPECT_FALSE(memory->is_ram(GuestPhys(4 * kGiB - 1), 1));
  EXPECT_TRUE(memory->is_ram(GuestPhys(4 * kGiB), kMiB));
  EXPECT_FALSE(memory->is_ram(GuestPhys(4 * kGiB), kMiB + 1));
}

TEST(GuestMemory, KeepsTheRamAboveTheHoleApartFromTheRamBelow) {
  const auto memory = make_memory(3 * kGiB + kMiB);
  EXPECT_TRUE(memory->write_value<u32>(GuestPhys(4 * kGiB), 0x11111111));
  EXPECT_TRUE(memory->write_value<u32>(GuestPhys(0), 0x22222222));
  EXPECT_EQ(memory->read_value<u32>(GuestPhys(4 * kGiB)), 0x11111111u);
  EXPECT_EQ(memory->read_value<u32>(GuestPhys(3 * kGiB - 4)), 0u);
}

TEST(GuestMemory, ReadsZeroAtFirst) {
  const auto memory = make_memory();
  EXPECT_EQ(memory->read_value<u64>(GuestPhys(0x1ffff8)), 0u);
}

TEST(GuestMemory, CopiesAcrossPages) {
  const auto memory = make_memory();
  EXPECT_TRUE(memory->write_value<u32>(GuestPhys(0x1ffe), 0x44332211));
  EXPECT_EQ(memory->read_value<u16>(GuestPhys(0x2000)), 0x4433);
  EXPECT_EQ(*memory->host(GuestPhys(0x1ffe)), 0x11);
}

TEST(GuestMemory, CopiesNothingAcrossTheEnd) {
  const auto memory = make_memory(2 * kMiB);
  EXPECT_FALSE(memory->write_value<u32>(GuestPhys(2 * kMiB - 2), 0xffffffff));
  EXPECT_EQ(memory->read_value<u16>(GuestPhys(2 * kMiB - 2)), 0u);
  EXPECT_EQ(memory->read_value<u32>(GuestPhys(2 * kMiB - 2)), std::nullopt);
}

TEST(GuestMemory, LeavesTheBufferAloneWhenAReadFails) {
  const auto memory = make_memory(2 * kMiB);
  std::array<u8, 2> buffer = {0x5a, 0x5a};
  EXPECT_FALSE(memory->read(GuestPhys(2 * kMiB - 1), buffer));
  EXPECT_EQ(buffer, (std::array<u8, 2>{0x5a, 0x5a}));
}

TEST(GuestMemory, AnnouncesWritesToCodeFramesOnly) {
  const auto memory = make_memory();
  FakeUser user(*memory);
  user.mark(0x2000);
  memory->write_value<u8>(GuestPhys(0x1fff), 1);
  memory->write_value<u8>(GuestPhys(0x3000), 1);
  EXPECT_EQ(user.read_mail(), "");
  memory->write_value<u16>(GuestPhys(0x2345), 1);
  EXPECT_EQ(user.read_mail(), "2000+1000 ");
}

TEST(GuestMemory, AnnouncesALongWriteFrameByFrame) {
  const auto memory = make_memory();
  FakeUser user(*memory);
  user.mark(0x1000);
  user.mark(0x3000);
  memory->note_write(GuestPhys(0x1ff0), 0x1020);
  EXPECT_EQ(user.read_mail(), "1000+1000 3000+1000 ");
}

TEST(GuestMemory, IsSilentOnceTheMarkIsCleared) {
  const auto memory = make_memory();
  FakeUser user(*memory);
  user.mark(0x1000);
  memory->code_frames().unmark(0x1000 >> kPageShift, user.id);
  memory->write_value<u8>(GuestPhys(0x1000), 1);
  EXPECT_EQ(user.read_mail(), "");
}

TEST(GuestMemory, RefusedWritesAreNotAnnounced) {
  const auto memory = make_memory(2 * kMiB);
  FakeUser user(*memory);
  user.mark(2 * kMiB - kPageSize);
  EXPECT_FALSE(memory->write_value<u16>(GuestPhys(2 * kMiB - 1), 1));
  EXPECT_EQ(user.read_mail(), "");
}

TEST(GuestMemory, DiscardedPagesReadZero) {
  const auto memory = make_memory(3 * kGiB + kMiB);
  FakeUser user(*memory);
  user.mark(4 * kGiB + 0x1000);
  for (const u64 page : {u64{0x1000}, u64{0x2000}, 4 * kGiB, 4 * kGiB + 0x1000})
    *memory->host(GuestPhys(page)) = 1;

  memory->discard(GuestPhys(0x1000), 0x1000);
  memory->discard(GuestPhys(4 * kGiB + 0x1000), 0x1000);

  EXPECT_EQ(memory->read_value<u8>(GuestPhys(0x1000)), 0);
  EXPECT_EQ(memory->read_value<u8>(GuestPhys(0x2000)), 1);
  EXPECT_EQ(memory->read_value<u8>(GuestPhys(4 * kGiB)), 1);
  EXPECT_EQ(memory->read_value<u8>(GuestPhys(4 * kGiB + 0x1000)), 0);
  EXPECT_EQ(user.read_mail(), "100001000+1000 ");
}

TEST(GuestMemory, ComesBackFromASavedState) {
  const auto original = make_memory();
  original->write_value<u32>(GuestPhys(0x5008), 0xdeadbeef);
  original->write_value<u8>(GuestPhys(2 * kMiB - 1), 0x77);
  const auto copy = make_memory();
  copy->write_value<u32>(GuestPhys(0x7000), 0x12345678);  // was zero when saved
  ASSERT_TRUE(load(*copy, save(*original)));
  EXPECT_EQ(copy->read_value<u32>(GuestPhys(0x5008)), 0xdeadbeefu);
  EXPECT_EQ(copy->read_value<u8>(GuestPhys(2 * kMiB - 1)), 0x77);
  EXPECT_EQ(copy->read_value<u32>(GuestPhys(0x7000)), 0u);
  EXPECT_EQ(save(*copy), save(*original));
}

TEST(GuestMemory, StoresOnlyPagesThatAreNotZero) {
  const auto memory = make_memory();
  const std::size_t empty = save(*memory).size();
  EXPECT_LT(empty, 100u);
  memory->write_value<u8>(GuestPhys(0x5fff), 1);
  EXPECT_GT(save(*memory).size(), empty + kPageSize);
  EXPECT_LT(save(*memory).size(), empty + kPageSize + 100);
}

TEST(GuestMemory, AnnouncesWhatLoadingOverwrites) {
  const auto original = make_memory(kMiB);
  original->write_value<u8>(GuestPhys(0x4000), 1);
  const auto copy = make_memory(kMiB);
  FakeUser user(*copy);
  user.mark(0x4000);
  user.mark(0x9000);
  ASSERT_TRUE(load(*copy, save(*original)));
  EXPECT_EQ(user.read_mail(), "4000+1000 9000+1000 ");
}

TEST(GuestMemory, RefusesAStateOfAnotherSize) {
  const auto small = make_memory(kMiB);
  const auto large = make_memory(2 * kMiB);
  EXPECT_FALSE(load(*large, save(*small)));
}

TEST(GuestMemory, RefusesAStateThatWasCutOff) {
  const auto original = make_memory();
  original->write_value<u8>(GuestPhys(0x4000), 1);
  std::vector<u8> state = save(*original);
  state.resize(state.size() - 1000);
  EXPECT_FALSE(load(*make_memory(), state));
}

}  // namespace
}  // namespace doppel
