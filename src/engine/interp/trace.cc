// Lookup, insertion and invalidation of traces.
#include "engine/interp/trace.h"

#include <algorithm>
#include <cstring>

namespace doppel::interp {

TraceCache::TraceCache(GuestMemory& memory, Handler dead_handler)
    : memory_(memory),
      dead_handler_(dead_handler),
      arena_(std::make_unique_for_overwrite<u8[]>(kArenaBytes)),
      buckets_(kBuckets) {}

Trace* TraceCache::find(const TraceKey& key) const {
  for (Trace* trace = buckets_[key.hash() >> 49]; trace != nullptr; trace = trace->hash_next) {
    if (trace->key == key) return trace;
  }
  return nullptr;
}

void* TraceCache::allocate(u64 bytes) {
  bytes = align_up(bytes, 16);
  if (!has_room(bytes)) return nullptr;
  void* result = arena_.get() + used_;
  used_ += bytes;
  return result;
}

// Bits of the 64-byte chunks that [start, start + size) of a frame touches.
u64 TraceCache::chunk_mask(u64 start, u64 size) {
  const u64 first = start >> 6;
  const u64 last = (start + size - 1) >> 6;
  const u64 up_to_last = last >= 63 ? ~u64{0} : (u64{1} << (last + 1)) - 1;
  return up_to_last & ~((u64{1} << first) - 1);
}

void TraceCache::add_to_frame(Trace* trace, u64 frame_number, bool is_second) {
  Frame& frame = frames_[frame_number];
  const u64 start = trace->key.physical & kPageOffsetMask;
  if (is_second) {
    trace->second_page_next = frame.first;
    frame.chunks |= chunk_mask(0, start + trace->bytes - kPageSize);
  } else {
    trace->page_next = frame.first;
    frame.chunks |= chunk_mask(start, std::min<u64>(trace->bytes, kPageSize - start));
  }
  frame.first = trace;
}

void TraceCache::hold(u64 frame, u64 second_frame) {
  const bool has_second = second_frame != Trace::kNoFrame;
  do {
    code_frames().mark(frame, user_);
    if (has_second) code_frames().mark(second_frame, user_);
    // Mail handled while marking may have taken a mark away.
  } while (!code_frames().is_marked_by(frame, user_) ||
           (has_second && !code_frames().is_marked_by(second_frame, user_)));
}

void TraceCache::insert(Trace* trace) {
  Trace*& bucket = buckets_[trace->key.hash() >> 49];
  trace->hash_next = bucket;
  bucket = trace;
  add_to_frame(trace, trace->key.physical >> kPageShift, false);
  if (trace->second_frame != Trace::kNoFrame) add_to_frame(trace, trace->second_frame, true);
  ++built_;
}

void TraceCache::kill(Trace* trace) {
  if (trace->is_dead) return;
  trace->is_dead = true;
  Trace** link = &buckets_[trace->key.hash() >> 49];
  while (*link != trace) link = &(*link)->hash_next;
  *link = trace->hash_next;
  trace->ops[0].handler = dead_handler_;
  trace->ops[0].immediate = reinterpret_cast<u64>(trace);
  ++invalidations_;
}

void TraceCache::kill_frame(u64 number, Frame& frame) {
  for (Trace* trace = frame.first; trace != nullptr;) {
    const bool is_second = trace->second_frame == number && trace->key.physical >> kPageShift != number;
    Trace* next = is_second ? trace->second_page_next : trace->page_next;
    kill(trace);
    trace = next;
  }
}

void TraceCache::unmark(u64 frame) {
  if (other_holder_ == nullptr || !other_holder_->holds(frame)) code_frames().unmark(frame, user_);
}

void TraceCache::code_written(GuestPhys address, u64 size) {
  const u64 number = address.page_number();
  const auto found = frames_.find(number);
  if (found == frames_.end()) return unmark(number);
  if ((found->second.chunks & chunk_mask(address.page_offset(), size)) == 0) return;
  // All traces of the frame go: code that is being written usually changes in more than one place.
  kill_frame(number, found->second);
  frames_.erase(found);
  unmark(number);
}

void TraceCache::kill_all() {
  for (auto& [number, frame] : frames_) {
    kill_frame(number, frame);
    unmark(number);
  }
  frames_.clear();
}

void TraceCache::clear() {
  for (const auto& [number, frame] : frames_) unmark(number);
  frames_.clear();
  std::ranges::fill(buckets_, nullptr);
  used_ = 0;
  ++clears_;
  ++invalidations_;
}

}  // namespace doppel::interp
