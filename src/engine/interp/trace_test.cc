// The trace cache: finding traces, and forgetting them when their bytes are written.
#include "engine/interp/trace.h"

#include <gtest/gtest.h>

#include <array>
#include <new>

namespace doppel::interp {
namespace {

void INTERP_CALL run_nothing(Interpreter*, const Op*, u64, u64) {}
void INTERP_CALL run_dead(Interpreter*, const Op*, u64, u64) {}

// A cache over 1 MiB of RAM, filled with traces of one op.
struct Bench final : CodeFrameUser {
  std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(kMiB));
  TraceCache cache{*memory, &run_dead};
  CodeFrames::UserId user = memory->code_frames().add_user(*this);

  Bench() { cache.set_user(user); }
  void code_written(u64 frame, u64 start, u64 size) override {
    cache.code_written(GuestPhys((frame << kPageShift) + start), size);
  }
  void revoke_writes(u64) override {}
  void everything_written() override { cache.kill_all(); }
  void interrupt() override {}

  Trace* insert(u64 physical, u32 bytes, u64 second_frame = Trace::kNoFrame) {
    Trace* trace = new (cache.allocate(sizeof(Trace) + sizeof(Op))) Trace();
    trace->key = key(physical);
    trace->bytes = bytes;
    trace->count = 1;
    trace->second_frame = second_frame;
    trace->ops[0] = {};
    trace->ops[0].handler = &run_nothing;
    cache.hold(physical >> kPageShift, second_frame);
    cache.insert(trace);
    return trace;
  }
  static TraceKey key(u64 physical) { return {.physical = physical, .code_size = 8}; }
  Trace* find(u64 physical) const { return cache.find(key(physical)); }
  void write(u64 physical) {
    const u8 byte = 1;
    memory->write(GuestPhys(physical), {&byte, 1}, user);
  }
};

TEST(TraceCache, FindsWhatWasInserted) {
  Bench bench;
  Trace* trace = bench.insert(0x2010, 8);
  EXPECT_EQ(bench.find(0x2010), trace);
  EXPECT_EQ(bench.find(0x2011), nullptr);
  EXPECT_EQ(bench.cache.built(), 1u);
}

TEST(TraceCache, KeepsModesOfTheSameBytesApart) {
  Bench bench;
  bench.insert(0x2010, 8);
  EXPECT_EQ(bench.cache.find({.physical = 0x2010, .code_size = 4}), nullptr);
  EXPECT_EQ(bench.cache.find({.physical = 0x2010, .code_size = 8, .is_single = true}), nullptr);
  EXPECT_EQ(bench.cache.find({.physical = 0x2010, .code_size = 8, .is_protected = false}), nullptr);
}

TEST(TraceCache, MarksTheFrameAsHoldingCode) {
  Bench bench;
  bench.insert(0x2010, 8);
  EXPECT_TRUE(bench.memory->is_code_frame(GuestPhys(0x2000)));
  EXPECT_FALSE(bench.memory->is_code_frame(GuestPhys(0x3000)));
}

TEST(TraceCache, ForgetsATraceWhoseBytesAreWritten) {
  Bench bench;
  bench.insert(0x2010, 8);
  bench.write(0x2017);
  EXPECT_EQ(bench.find(0x2010), nullptr);
  EXPECT_FALSE(bench.memory->is_code_frame(GuestPhys(0x2000)));
}

TEST(TraceCache, SendsThoseWhoStillRunADeadTraceAway) {
  Bench bench;
  Trace* trace = bench.insert(0x2010, 8);
  bench.write(0x2010);
  EXPECT_TRUE(trace->is_dead);
  EXPECT_EQ(trace->ops[0].handler, &run_dead);
  EXPECT_EQ(trace->ops[0].immediate, reinterpret_cast<u64>(trace));
  EXPECT_EQ(bench.cache.invalidations(), 1u);
}

TEST(TraceCache, KeepsTracesWhenDataInTheSameFrameIsWritten) {
  Bench bench;
  Trace* trace = bench.insert(0x2040, 64);
  bench.write(0x203f);
  bench.write(0x2080);
  EXPECT_EQ(bench.find(0x2040), trace);
  EXPECT_TRUE(bench.memory->is_code_frame(GuestPhys(0x2000)));
  EXPECT_EQ(bench.cache.invalidations(), 0u);
}

TEST(TraceCache, CoversEveryChunkThatATraceTouches) {
  Bench bench;
  bench.insert(0x203f, 66);  // one byte below 2040h, one byte at 2080h
  bench.write(0x20bf);
  EXPECT_EQ(bench.find(0x203f), nullptr);
}

TEST(TraceCache, CoversTheLastChunkOfAFrame) {
  Bench bench;
  bench.insert(0x2fff, 1);
  bench.write(0x2fc0);
  EXPECT_EQ(bench.find(0x2fff), nullptr);
}

TEST(TraceCache, HearsOfAWriteThatBeginsInTheFrameBefore) {
  Bench bench;
  bench.insert(0x3000, 4);
  const std::array<u8, 4> bytes = {};
  bench.memory->write(GuestPhys(0x2ffe), bytes, bench.user);
  EXPECT_EQ(bench.find(0x3000), nullptr);
}

TEST(TraceCache, ForgetsAllTracesOfAWrittenFrameAndNoOthers) {
  Bench bench;
  bench.insert(0x2000, 4);
  bench.insert(0x2800, 4);
  Trace* other = bench.insert(0x3000, 4);
  bench.write(0x2000);
  EXPECT_EQ(bench.find(0x2800), nullptr);
  EXPECT_EQ(bench.find(0x3000), other);
}

TEST(TraceCache, ForgetsATraceWhenItsSecondFrameIsWritten) {
  Bench bench;
  bench.insert(0x2ffe, 4, 0x5);  // two bytes at 2ffeh, two at 5000h
  bench.write(0x5001);
  EXPECT_EQ(bench.find(0x2ffe), nullptr);
}

TEST(TraceCache, CoversOnlyTheTailInTheSecondFrame) {
  Bench bench;
  Trace* trace = bench.insert(0x2ffe, 4, 0x5);
  bench.write(0x5040);
  bench.write(0x3000);
  EXPECT_EQ(bench.find(0x2ffe), trace);
}

TEST(TraceCache, ForgetsTheOthersOfAFrameThatATraceReachesInto) {
  Bench bench;
  bench.insert(0x5000, 4);
  bench.insert(0x2ffe, 4, 0x5);
  bench.insert(0x5010, 4);
  bench.write(0x5000);
  EXPECT_EQ(bench.find(0x5000), nullptr);
  EXPECT_EQ(bench.find(0x2ffe), nullptr);
  EXPECT_EQ(bench.find(0x5010), nullptr);
  EXPECT_EQ(bench.cache.invalidations(), 3u);
}

TEST(TraceCache, TakesATraceWhoseTwoPagesAreOneFrame) {
  Bench bench;
  bench.insert(0x2100, 4);
  bench.insert(0x2ffe, 4, 0x2);
  bench.write(0x2000);
  EXPECT_EQ(bench.find(0x2ffe), nullptr);
  EXPECT_EQ(bench.find(0x2100), nullptr);
}

TEST(TraceCache, DoesNotKillTwiceATraceOfTwoFrames) {
  Bench bench;
  bench.insert(0x2ffe, 4, 0x5);
  bench.write(0x2fff);
  bench.write(0x5000);
  EXPECT_EQ(bench.cache.invalidations(), 1u);
}

TEST(TraceCache, FindsTheTraceThatTookADroppedOnesPlace) {
  Bench bench;
  bench.cache.drop(bench.insert(0x2010, 8));
  EXPECT_EQ(bench.find(0x2010), nullptr);
  Trace* second = bench.insert(0x2010, 8);
  EXPECT_EQ(bench.find(0x2010), second);
  bench.write(0x2010);
  EXPECT_EQ(bench.find(0x2010), nullptr);
}

TEST(TraceCache, ForgetsEverythingWhenCleared) {
  Bench bench;
  bench.insert(0x2ffe, 4, 0x5);
  bench.insert(0x8000, 4);
  bench.cache.clear();
  EXPECT_EQ(bench.find(0x2ffe), nullptr);
  EXPECT_EQ(bench.find(0x8000), nullptr);
  EXPECT_FALSE(bench.memory->is_code_frame(GuestPhys(0x2000)));
  EXPECT_FALSE(bench.memory->is_code_frame(GuestPhys(0x5000)));
  EXPECT_FALSE(bench.memory->is_code_frame(GuestPhys(0x8000)));
  EXPECT_EQ(bench.cache.clears(), 1u);
  EXPECT_EQ(bench.cache.invalidations(), 1u);
}

TEST(TraceCache, ClearsAMarkThatNoTraceStandsBehind) {
  Bench bench;
  bench.cache.hold(0x6, Trace::kNoFrame);
  bench.write(0x6000);
  EXPECT_FALSE(bench.memory->is_code_frame(GuestPhys(0x6000)));
}

TEST(TraceCache, GivesNoSpaceBeyondItsArenaUntilCleared) {
  Bench bench;
  void* first = bench.cache.allocate(TraceCache::kArenaBytes - 16);
  EXPECT_NE(first, nullptr);
  EXPECT_EQ(bench.cache.allocate(17), nullptr);
  EXPECT_NE(bench.cache.allocate(16), nullptr);
  EXPECT_FALSE(bench.cache.has_room(1));
  bench.cache.clear();
  EXPECT_EQ(bench.cache.allocate(1), first);
}

TEST(TraceCache, RoundsSpaceUpToSixteenBytes) {
  Bench bench;
  u8* first = static_cast<u8*>(bench.cache.allocate(1));
  EXPECT_EQ(static_cast<u8*>(bench.cache.allocate(1)), first + 16);
}

}  // namespace
}  // namespace doppel::interp
