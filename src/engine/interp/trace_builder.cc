// Fetching, decoding and laying out a trace.
#include "engine/interp/trace_builder.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "engine/interp/borrowed.h"
#include "engine/interp/handlers.h"

namespace doppel::interp {
namespace {

constexpr unsigned kMaxLength = ZYDIS_MAX_INSTRUCTION_LENGTH;

// First op of a trace with an instruction that crosses into the next page: is that page still where it was?
void INTERP_CALL guard_second_page(Interpreter* s, const Op* op, u64 flags, u64 base) {
  Trace* trace = reinterpret_cast<Trace*>(op->immediate);
  if (!s->second_page_matches(*trace, base)) {
    s->traces.drop(trace);
    GOTO(leave_unentered);
  }
  NEXT();
}

// Explicit ones and those of the stack.
unsigned memory_operands(const Decoded& decoded) {
  unsigned count = 0;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    const bool is_access =
        operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type == ZYDIS_MEMOP_TYPE_MEM;
    if (is_access && operand.actions != 0) ++count;
  }
  return count;
}

// First op of a trace that may begin at a breakpoint.
void INTERP_CALL guard_breakpoint(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if (s->stops_at(base, op->remaining)) GOTO(leave_unentered);
  NEXT();
}

}  // namespace

bool Interpreter::second_page_matches(const Trace& trace, u64 rip) {
  const u64 linear = is_64bit ? rip : (state.segment(x86::kCs).base + rip) & 0xffffffff;
  const u64 next = (linear & ~kPageOffsetMask) + kPageSize;
  if (is_64bit && !is_canonical(next)) return false;
  const Translation translation =
      mmu.translate_code(GuestVirt(is_64bit ? next : next & 0xffffffff), cpl == 3);
  return translation.is_valid && translation.physical.page_number() == trace.second_frame;
}

TraceBuilder::TraceBuilder(Interpreter& interpreter, const TraceKey& key, u64 linear, u64 limit_bytes)
    : interpreter_(interpreter),
      key_(key),
      decoder_(key.code_size, key.is_protected, interpreter.cpuid.features()),
      linear_(linear),
      limit_bytes_(limit_bytes) {}

TraceBuilder::Decode TraceBuilder::decode(Decoded& out, const u8* bytes, u64 size) {
  return decoder_.decode(bytes, size, offset_, out);
}

Trace* TraceBuilder::raise_decode_fault(Decode status) {
  // SDM 3A 6.15: an instruction longer than 15 bytes is #GP, an undefined one #UD.
  if (status == Decode::kTooLong)
    interpreter_.raise(x86::kVectorGp, 0);
  else
    interpreter_.raise(x86::kVectorUd);
  return nullptr;
}

void TraceBuilder::append_guard() {
  if (interpreter_.debug == nullptr || !interpreter_.debug->is_guarded(linear_)) return;
  Op& guard = ops_[op_count_++];
  guard = {};
  guard.base = guard.index = kZeroSlot;
  guard.handler = &guard_breakpoint;
}

bool TraceBuilder::append(const Decoded& decoded) {
  Op& op = ops_[op_count_];
  op = {};
  op.base = op.index = kZeroSlot;
  op.length = decoded.instruction.length;
  op.offset = static_cast<u16>(offset_);
  const bool is_64bit = key_.code_size == 8;
  ending_ = Ending::kNone;
  if (!select_handler(op, decoded, is_64bit, ending_)) {
    void* space = interpreter_.traces.allocate(sizeof(Insn));
    if (space == nullptr) return false;
    Insn* insn = new (space) Insn();
    op.handler = &call_semantic;
    ending_ = fill_insn(op, *insn, decoded, interpreter_, is_64bit);
    op.insn = insn;
  }
  // A linked ending with a specialised handler is a branch that its compare can take along.
  if (ending_ == Ending::kLinked && comparison_) fuse_branch(ops_[op_count_ - 1], *comparison_, decoded);
  comparison_ = comparison_of(decoded);
  ++op_count_;
  ++instruction_count_;
  memory_operands_ += memory_operands(decoded);
  offset_ += decoded.instruction.length;
  if (ending_ == Ending::kLinked) std::memset(&ops_[op_count_++], 0, sizeof(BranchLinks));
  return true;
}

Trace* TraceBuilder::build() {
  // Room for the largest trace and its Insns; a partial one cannot be abandoned half-way.
  if (!interpreter_.traces.has_room(kMaxInstructions * (sizeof(Insn) + 16) + sizeof(ops_) + sizeof(Trace) +
                                    64)) {
    interpreter_.traces.clear();
  }
  const u64 page_bytes = kPageSize - (linear_ & kPageOffsetMask);
  const GuestPhys start(key_.physical);
  const u64 limit = std::min(page_bytes, limit_bytes_);
  u8 device_bytes[kMaxLength];
  const u8* bytes = nullptr;
  u64 available = limit;
  if (interpreter_.memory.is_ram(start.page_base(), kPageSize)) {
    interpreter_.traces.hold(start.page_number(), Trace::kNoFrame);
    bytes = interpreter_.memory.host(start);
  } else {
    // Code in device memory is fetched anew each time.
    is_cacheable_ = false;
    available = std::min<u64>(limit, kMaxLength);
    for (u64 i = 0; i < available; ++i) interpreter_.platform.read_mmio(start + i, {device_bytes + i, 1});
    bytes = device_bytes;
  }
  const unsigned most = key_.is_single || !is_cacheable_ ? 1 : kMaxInstructions;
  Decoded decoded;
  append_guard();
  while (instruction_count_ < most && offset_ < available && ending_ == Ending::kNone) {
    const DebugStops* debug = interpreter_.debug.get();
    if (instruction_count_ != 0 && debug != nullptr && debug->is_guarded(linear_ + offset_)) break;
    const Decode status = decode(decoded, bytes + offset_, available - offset_);
    if (status == Decode::kOk) {
      VERIFY(append(decoded));
      continue;
    }
    if (instruction_count_ != 0) break;  // reached again, and reported, as the first of its own trace
    if (status != Decode::kNeedsMore) return raise_decode_fault(status);
    if (limit_bytes_ <= page_bytes) {
      interpreter_.raise(x86::kVectorGp, 0);
      return nullptr;
    }
    op_count_ = 0;
    return build_across_pages();
  }
  return finish(Trace::kNoFrame);
}

// The first instruction reaches into the next page: a trace of its own, guarded by that page's translation.
Trace* TraceBuilder::build_across_pages() {
  Interpreter& s = interpreter_;
  const u64 first_bytes = kPageSize - (linear_ & kPageOffsetMask);
  u64 next = linear_ + first_bytes;
  if (key_.code_size != 8) next &= 0xffffffff;
  if (key_.code_size == 8 && !s.is_canonical(next)) return s.raise(x86::kVectorGp, 0), nullptr;
  const Translation translation = s.mmu.translate_code(GuestVirt(next), s.cpl == 3);
  if (!translation.is_valid) return s.raise_page_fault(GuestVirt(next), translation.error_code), nullptr;
  is_cacheable_ = is_cacheable_ && s.memory.is_ram(translation.physical.page_base(), kPageSize) &&
                  s.memory.is_ram(GuestPhys(key_.physical), first_bytes);
  if (is_cacheable_) s.traces.hold(key_.physical >> kPageShift, translation.physical.page_number());
  u8 bytes[kMaxLength];
  const u64 available = std::min<u64>(kMaxLength, limit_bytes_);
  s.mmu.read_physical(GuestPhys(key_.physical), {bytes, first_bytes});
  for (u64 i = first_bytes; i < available; ++i) {
    s.mmu.read_physical(translation.physical + (i - first_bytes), {bytes + i, 1});
  }
  Decoded decoded;
  const Decode status = decode(decoded, bytes, available);
  if (status == Decode::kNeedsMore) return s.raise(x86::kVectorGp, 0), nullptr;  // cut off by the limit
  if (status != Decode::kOk) return raise_decode_fault(status);
  Op& guard = ops_[op_count_++];
  guard = {};
  guard.base = guard.index = kZeroSlot;
  guard.handler = &guard_second_page;
  append_guard();
  VERIFY(append(decoded));
  return finish(translation.physical.page_number());
}

Trace* TraceBuilder::finish(u64 second_frame) {
  // A semantic function decides at run time whether it leaves: behind each there is somewhere to go on.
  const bool may_go_on = ending_ == Ending::kNone || ops_[op_count_ - 1].handler == &call_semantic;
  if (may_go_on) {
    Op& op = ops_[op_count_++];
    op = {};
    op.base = op.index = kZeroSlot;
    op.offset = static_cast<u16>(offset_);
    op.handler = select_fall_through();
    std::memset(&ops_[op_count_++], 0, sizeof(BranchLinks));
  }
  // Guards and the fall-through op retire nothing: a guard shares its successor's count.
  unsigned done = 0;
  for (unsigned i = 0; i < op_count_; ++i) {
    Op& op = ops_[i];
    if (op.handler == nullptr) continue;  // BranchLinks
    op.remaining = static_cast<u8>(instruction_count_ - done);
    if (op.length != 0) ++done;
  }
  void* space = interpreter_.traces.allocate(sizeof(Trace) + op_count_ * sizeof(Op));
  VERIFY(space != nullptr);
  Trace* trace = new (space) Trace();
  trace->key = key_;
  trace->second_frame = second_frame;
  trace->bytes = static_cast<u32>(offset_);
  trace->count = static_cast<u16>(instruction_count_);
  trace->memory_operands = static_cast<u16>(memory_operands_);
  std::memcpy(trace->ops, ops_, op_count_ * sizeof(Op));
  if (second_frame != Trace::kNoFrame) trace->ops[0].immediate = reinterpret_cast<u64>(trace);
  if (!is_cacheable_) {
    trace->is_dead = true;  // entered this once, never found again
    return trace;
  }
  interpreter_.traces.insert(trace);
  return trace;
}

}  // namespace doppel::interp
