// Whole operands, those with a mask, and those that AMD's processors address part by part.
#include "engine/interp/vector_operand.h"

#include <algorithm>
#include <cstring>

#include "engine/interp/save_area.h"

namespace doppel::interp {
namespace {

constexpr unsigned kExtendedReal = 10;
constexpr unsigned kWord = 8;

enum class Part : u8 { kLoad, kProbe, kStore };

// Does the operand reach over the end of what its address size can say, on a processor that then addresses
// each part of it by itself? AMD's do, for masked moves and x87 operands of 10 bytes; Intel's are taken to
// address these as a whole.
bool is_in_parts(Interpreter& s, const Op& op, const BorrowedStub& stub) {
  if (!s.cpuid.is_amd()) return false;
  if (!stub.is_masked && stub.memory_size != kExtendedReal) return false;
  return any_offset(&s, &op, trace_base(s, op)) > address_mask(op) - (stub.memory_size - 1u);
}

u8* direct_pointer(Interpreter& s, u64 va, unsigned size, bool is_write) {
  return (is_write ? s.tlb->write : s.tlb->read).find(va, size);
}

// `bytes` are the whole operand's; a probe has none.
template <Part kAccess>
bool access(Interpreter& s, u64 va, unsigned at, unsigned size, u8* bytes) {
  if constexpr (kAccess == Part::kLoad) return s.read_linear(va, bytes + at, size, s.access_mode);
  if constexpr (kAccess == Part::kProbe) return s.probe_write(va, size, s.access_mode);
  return s.write_linear(va, bytes + at, size, s.access_mode);
}

template <Part kAccess>
bool access_part(Interpreter& s, const Op& op, unsigned at, unsigned size, u8* bytes) {
  u64 va;
  return part_address(s, op, at, size, kAccess != Part::kLoad, va) && access<kAccess>(s, va, at, size, bytes);
}

// --- x87

template <Part kAccess>
bool each_real_part(Interpreter& s, const Op& op, u8* bytes) {
  return access_part<kAccess>(s, op, 0, kWord, bytes) &&
         access_part<kAccess>(s, op, kWord, kExtendedReal - kWord, bytes);
}

// --- Masked moves

// One element; checked as an access of its own.
template <Part kAccess>
bool access_element(Interpreter& s, const Op& op, const BorrowedStub& stub, unsigned at, u8* bytes) {
  const unsigned size = stub.mask_element_size;
  if (is_in_parts(s, op, stub)) return access_part<kAccess>(s, op, at, size, bytes);
  const u64 offset = any_offset(&s, &op, trace_base(s, op)) + at;
  u64 va;
  return s.linear_address(op.segment, offset, size, stub.writes_memory, va) &&
         access<kAccess>(s, va, at, size, bytes);
}

// The enabled elements of a masked operand; the others are not accessed and cannot fault.
template <Part kAccess>
bool each_enabled(Interpreter& s, const Op& op, const BorrowedStub& stub, u8* bytes) {
  const u32 enabled = borrowed_enabled_bytes(stub, s.state);
  for (unsigned i = 0; i < stub.memory_size; i += stub.mask_element_size) {
    if ((enabled >> i & 1) != 0 && !access_element<kAccess>(s, op, stub, i, bytes)) return false;
  }
  return true;
}

// MASKMOVQ and MASKMOVDQU: whether disabled bytes fault is the implementation's choice. SDM 2B "MASKMOVDQU".
// On Intel's and AMD's processors they do; the latter then store byte by byte.
bool probe_byte_masked(Interpreter& s, const Op& op, const BorrowedStub& stub) {
  const bool is_split = is_in_parts(s, op, stub);
  const unsigned part = is_split ? kWord : stub.memory_size;
  for (unsigned at = 0; at < stub.memory_size; at += part) {
    if (!access_part<Part::kProbe>(s, op, at, part, nullptr)) return false;
  }
  return !is_split || each_enabled<Part::kProbe>(s, op, stub, nullptr);
}

// All of the operand at once, disabled elements included; leaves no trace when that would fault.
bool try_whole(Interpreter& s, const Op& op, const BorrowedStub& stub, u8* bytes) {
  const u64 cr2 = s.state.cr2;
  u64 va;
  if (memory_address(s, op, stub.memory_size, false, va) &&
      s.read_linear(va, bytes, stub.memory_size, s.access_mode)) {
    return true;
  }
  s.has_fault = false;
  s.state.cr2 = cr2;
  std::memset(bytes, 0, stub.memory_size);
  return false;
}

bool prepare_masked(Interpreter& s, const Op& op, const BorrowedStub& stub, u8* bytes) {
  std::memset(bytes, 0, stub.memory_size);
  if (stub.mask_element_size == 1) return probe_byte_masked(s, op, stub);
  if (stub.writes_memory) return each_enabled<Part::kProbe>(s, op, stub, nullptr);
  // AMD's processors load the whole operand, and only if that faults its elements.
  if (is_in_parts(s, op, stub) && try_whole(s, op, stub, bytes)) return true;
  return each_enabled<Part::kLoad>(s, op, stub, bytes);
}

// --- Aligned operands

// Of an operand that is neither aligned nor canonical AMD's processors report the former.
bool check_alignment_first(Interpreter& s, const Op& op, const BorrowedStub& stub) {
  return stub.alignment == 1 || !s.cpuid.is_amd() || is_aligned(s, op, stub.alignment) ||
         s.raise(x86::kVectorGp, 0);
}

}  // namespace

bool prepare_operand(Interpreter& s, const Op& op, const BorrowedStub& stub, OperandMemory& memory) {
  if (stub.memory_size == 0) return true;
  memory.host = memory.buffer;
  memory.is_bounced = true;
  if (stub.is_masked) return prepare_masked(s, op, stub, memory.buffer);
  if (is_in_parts(s, op, stub)) {
    return (!stub.writes_memory || each_real_part<Part::kProbe>(s, op, nullptr)) &&
           (!stub.reads_memory || each_real_part<Part::kLoad>(s, op, memory.buffer));
  }
  if (stub.x87_image == X87Image::kStore) return SaveArea(s, op).probe_write(0, stub.memory_size);
  if (stub.x87_image == X87Image::kLoad) return SaveArea(s, op).read(0, memory.buffer, stub.memory_size);
  if (!check_alignment_first(s, op, stub)) return false;
  if (!memory_address(s, op, stub.memory_size, stub.writes_memory, memory.va)) return false;
  if ((memory.va & (stub.alignment - 1u)) != 0) return s.raise(x86::kVectorGp, 0);
  if (u8* host = direct_pointer(s, memory.va, stub.memory_size, stub.writes_memory)) {
    memory.host = host;
    memory.is_bounced = false;
    return true;
  }
  if (stub.writes_memory && !s.probe_write(memory.va, stub.memory_size, s.access_mode)) return false;
  if (!stub.reads_memory) return true;
  return s.read_linear(memory.va, memory.buffer, stub.memory_size, s.access_mode);
}

bool finish_operand(Interpreter& s, const Op& op, const BorrowedStub& stub, OperandMemory& memory) {
  if (!stub.writes_memory || !memory.is_bounced) return true;
  if (stub.is_masked) return each_enabled<Part::kStore>(s, op, stub, memory.buffer);
  if (stub.x87_image == X87Image::kStore || is_in_parts(s, op, stub))
    return store_operand(s, op, stub, memory.buffer);
  return s.write_linear(memory.va, memory.buffer, stub.memory_size, s.access_mode);
}

bool probe_operand(Interpreter& s, const Op& op, const BorrowedStub& stub) {
  if (is_in_parts(s, op, stub)) return each_real_part<Part::kProbe>(s, op, nullptr);
  u64 va;
  return memory_address(s, op, stub.memory_size, true, va) &&
         s.probe_write(va, stub.memory_size, s.access_mode);
}

bool store_operand(Interpreter& s, const Op& op, const BorrowedStub& stub, const u8* data) {
  if (is_in_parts(s, op, stub)) return each_real_part<Part::kStore>(s, op, const_cast<u8*>(data));
  if (stub.x87_image == X87Image::kStore) return SaveArea(s, op).write(0, data, stub.memory_size);
  u64 va;
  return memory_address(s, op, stub.memory_size, true, va) &&
         s.write_linear(va, data, stub.memory_size, s.access_mode);
}

}  // namespace doppel::interp
