// Trace: a straight run of decoded instructions, and the cache of traces keyed by guest-physical address.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "cpu/translated_code.h"
#include "engine/interp/op.h"
#include "memory/guest_memory.h"

namespace doppel::interp {

struct Trace;

// Where a branch goes: the trace, valid while the interpreter's link epoch equals `epoch`.
struct Link {
  Trace* trace;
  u64 epoch;
};

// Follows every op that ends a trace with direct successors.
struct BranchLinks {
  Link taken;
  Link next;
};
static_assert(sizeof(BranchLinks) == sizeof(Op));

// What besides the bytes decides how they decode and execute.
struct TraceKey {
  u64 physical = 0;
  u8 code_size = 0;          // 2, 4, 8: default operand size class of the code segment
  bool is_single = false;    // one instruction only
  bool is_protected = true;  // decoding differs in real and v8086 mode
  bool operator==(const TraceKey&) const = default;
  u64 hash() const {
    const u64 mode = u64{code_size} << 60 | u64{is_single} << 59 | u64{is_protected} << 58;
    return (physical ^ mode) * 0x9e3779b97f4a7c15;
  }
};

struct Trace {
  TraceKey key;
  Trace* hash_next;
  Trace* page_next;         // next trace with bytes in the frame of its first byte
  Trace* forward;           // when dead: what took its place
  u64 second_frame;         // frame of the bytes beyond the first page, kNoFrame if none
  Trace* second_page_next;  // list link in the second frame
  u32 bytes;                // guest bytes covered
  u16 count;                // instructions
  u16 memory_operands;      // of all of them; a repeated string instruction counts once
  bool is_dead;
  Op ops[];

  static constexpr u64 kNoFrame = ~u64{0};
};

// Owned by one interpreter. Memory comes from a bump arena; when it is full everything is dropped at once.
class TraceCache {
 public:
  static constexpr u64 kArenaBytes = 24 * kMiB;
  static constexpr unsigned kBuckets = 1u << 15;

  TraceCache(GuestMemory& memory, Handler dead_handler);
  // As whom the cache marks frames of code.
  void set_user(CodeFrames::UserId user) { user_ = user; }
  // Who else of the same vCPU may need a frame's mark.
  void set_other_holder(const TranslatedCode* holder) { other_holder_ = holder; }

  // To be called before the bytes of a trace are read: from here on writes to its frames are heard of.
  // `second_frame` may be Trace::kNoFrame.
  void hold(u64 frame, u64 second_frame);

  Trace* find(const TraceKey& key) const;
  // Arena space for a trace of up to `ops` ops, or nullptr when full: then clear() and try again.
  void* allocate(u64 bytes);
  bool has_room(u64 bytes) const { return used_ + bytes <= kArenaBytes; }
  void insert(Trace* trace);
  void clear();
  // The trace no longer stands for the bytes at its address.
  void drop(Trace* trace) { kill(trace); }

  // Bumped whenever a trace dies, so that a running trace can notice.
  u64 invalidations() const { return invalidations_; }
  u64 built() const { return built_; }
  u64 clears() const { return clears_; }

  // Bytes of a held frame changed; they lie in that frame.
  void code_written(GuestPhys address, u64 size);
  // Any bytes may have changed.
  void kill_all();

 private:
  // Traces with bytes in one frame, and which 64-byte chunks they cover.
  struct Frame {
    u64 chunks = 0;
    Trace* first = nullptr;
  };
  static u64 chunk_mask(u64 start, u64 size);
  void add_to_frame(Trace* trace, u64 frame, bool is_second);
  void kill(Trace* trace);
  void kill_frame(u64 number, Frame& frame);
  CodeFrames& code_frames() { return memory_.code_frames(); }
  void unmark(u64 frame);

  GuestMemory& memory_;
  CodeFrames::UserId user_ = CodeFrames::kNobody;
  const TranslatedCode* other_holder_ = nullptr;
  Handler dead_handler_;
  std::unique_ptr<u8[]> arena_;
  u64 used_ = 0;
  std::vector<Trace*> buckets_;
  std::unordered_map<u64, Frame> frames_;
  u64 invalidations_ = 0;
  u64 built_ = 0;
  u64 clears_ = 0;
};

}  // namespace doppel::interp
