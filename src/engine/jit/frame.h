// Frame: what translated code finds at fixed distances from the host's stack pointer.
#pragma once

#include <array>
#include <atomic>

#include "cpu/mmu.h"
#include "engine/jit/registers.h"

namespace doppel::jit {

// Why translated code was left.
enum class Leave : u64 {
  kLook,       // RIP has no block yet, or attention is wanted
  kInterpret,  // the instruction at RIP is for the interpreter
  kBudget,     // the block at RIP has more instructions than may be executed
};

// Blocks by address, for indirect branches. `keys` are negated RIPs.
struct JumpCache {
  static constexpr unsigned kEntries = 8192;
  // PEXT with this mask of RIP's CRC-32C is the index. Addresses of code differ in few bits, and hot ones
  // must not share an entry.
  static constexpr u64 kMask = kEntries - 1;
  [[gnu::target("sse4.2")]] static unsigned index(u64 rip) {
    return static_cast<unsigned>(__builtin_ia32_crc32di(0, rip) & kMask);
  }
  std::array<u64, kEntries> keys;
  std::array<u64, kEntries> codes;
  std::array<u16, kEntries> used;  // entries that are not empty, if they are not more than that
  unsigned used_count;
  std::array<bool, 2> has_half;  // keys in that half of the address space

  // The key of no canonical address, or in the entry of that address, of another one.
  static u64 empty_key(unsigned index) {
    constexpr u64 kNowhere = 0xc000'0000'0000'0000;
    return ~(kNowhere + (index == JumpCache::index(kNowhere) ? 8 : 0)) + 1;
  }
  void reset() {
    for (unsigned i = 0; i < kEntries; ++i) keys[i] = empty_key(i);
    used_count = 0;
    has_half = {};
  }
  void clear() {
    for (unsigned i = 0; i < used_count; ++i) keys[used[i]] = empty_key(used[i]);
    used_count = 0;
    has_half = {};
  }
  // nullptr: it is not in here.
  const u8* find(u64 rip) const {
    const unsigned at = index(rip);
    return keys[at] == ~rip + 1 ? reinterpret_cast<const u8*>(codes[at]) : nullptr;
  }
  void insert(u64 rip, const u8* code) {
    const unsigned at = index(rip);
    if (keys[at] == empty_key(at)) used[used_count++] = static_cast<u16>(at);
    has_half[rip >> 63] = true;
    keys[at] = ~rip + 1;
    codes[at] = reinterpret_cast<u64>(code);
  }
};

// Branches of user code to another page are linked for one epoch of one address space, and instructions that
// cross into another page are translated for one epoch of their half. They compare these bits of it, which
// are positive as a displacement.
inline constexpr u64 kEpochBits = 0x7fffffff;
// In Frame::exit_link: the branch is of that kind.
inline constexpr u64 kFarUserLink = u64{1} << 31;

inline constexpr u32 kMxcsrMasks = 0x1f80;  // every exception masked

inline constexpr unsigned kVectorKinds = 3;  // the values of enum Vectors

// One for each address space, in its EngineArea, with a small stack below it and the translation tables
// behind it. Written on the vCPU's thread only, but for `go`.
struct alignas(64) Frame {
  std::array<u64, 2> stack;  // the stack begins in here: see kFrameBias
  // What most sequences use comes first, within one-byte displacements.
  std::array<u64, 4> guest_high;  // R12 to R15
  std::atomic<u64> go;            // 0: leave at the next chance
  std::array<u64, 3> scratch;     // values kept across a memory access within one instruction
  u64 tlb_mask;                   // PEXT masks: of an address's index in a table,
  u64 jump_mask;                  // and of its index in a jump cache
  u64 fs_base;
  u64 gs_base;
  // 0: not in the host's registers, or SSE, AVX, x87 instructions may not run now.
  std::array<u64, kVectorKinds> vectors;
  // Of this address space and of the kernel's half: see kEpochBits.
  u64 user_epoch;
  u64 kernel_epoch;

  CpuState* state;
  u64 interrupt_flag;  // RFLAGS.IF
  u64 other_flags;     // RFLAGS without IF and the arithmetic flags, which are in the host's
  i64 budget;          // instructions left, when they are counted

  u64 host_rsp;
  u64 entry;  // where enter() jumps to
  u64 exit_rip;
  Leave exit_reason;
  u64 exit_flags;
  u64 exit_link;                               // place of the branch that wants to be linked, 0: none
  std::array<u64, kVectorKinds> vector_gates;  // what `vectors` become when the registers are loaded
  u64 sign_mask;                               // more PEXT masks
  u64 arithmetic_mask;
  u64 direction_mask;
  u64 upper_mask;       // of a double word that has overflowed
  u64 index_mask_32;    // bit numbers in a double word,
  u64 index_mask_64;    // in a quad word
  u64 not_user_mask;    // what no address of the lower half has
  u64 not_sysret_mask;  // flags that make SYSRET a matter for the interpreter
  u64 kernel_gs_base;
  u64 system_calls;     // ever
  const void* pending;  // a byte: not zero when an interrupt may be pending
  // Zero when an instruction may run in line, or a segment of 32-bit code may be used.
  u64 fs_closed;
  u64 gs_closed;
  u64 syscall_closed;
  u64 tsc_closed;
  u64 fsgsbase_closed;
  u64 kept_by_syscall;  // complement of IA32_FMASK
  u64 syscall_target;   // IA32_LSTAR
  // CS and SS that SYSCALL and SYSRET load.
  std::array<std::array<Segment, 2>, 2> system_segments;
  u64 saved_rsp;  // while C++ code runs on behalf of translated code
  u64 host_mxcsr;
  u64 engine;         // the Jit
  u64 x87_pointer;    // RIP of the last x87 instruction while x87 registers are in the host's
  u64 x87_mask_bits;  // PEXT mask: of the exceptions' masks in the control word
  // XSAVE's image while they move. SDM 1 13.4.
  alignas(64) std::array<u8, 576> x87_image;

  // Epochs for which the jump caches are right: by mode and half of the address space.
  std::array<std::array<u64, 2>, kAccessModes> epochs;
  std::array<bool, 2> is_32bit;  // what the jump caches lead to: of the kernel's modes, of the user's
  std::array<JumpCache, kAccessModes> jumps;

  void set_constants() {
    tlb_mask = u64{kTlbEntries - 1} << kPageShift;
    jump_mask = JumpCache::kMask;
    sign_mask = u64{1} << 63;
    arithmetic_mask = x86::kArithmeticFlags;
    direction_mask = x86::kFlagDf;
    upper_mask = ~u64{0} << 32;
    index_mask_32 = 31;
    index_mask_64 = 63;
    not_user_mask = ~u64{0} << 47;
    host_mxcsr = kMxcsrMasks;
    x87_mask_bits = 0x3f;
    for (JumpCache& cache : jumps) cache.reset();
  }
  // Jump caches know code by its address alone.
  void use_code_size(bool is_user, bool is_32bit_code) {
    if (is_32bit[is_user] == is_32bit_code) return;
    is_32bit[is_user] = is_32bit_code;
    for (unsigned mode = 0; mode < kAccessModes; ++mode) {
      if ((mode == kUser) == is_user) jumps[mode].clear();
    }
  }
};

// While translated code runs the stack pointer is this far into the frame: its low bits are the count with
// which SHRX makes a page number of an address.
inline constexpr u64 kFrameBias = kPageShift;
static_assert(alignof(Frame) == 64 && kFrameBias < 64);

inline constexpr u64 kFrameOffset = 32 * kKiB;  // in the EngineArea; the stack is below
static_assert(kFrameOffset + sizeof(Frame) <= kEngineAreaBytes);

inline Frame& frame_of(Mmu::AddressSpace& space) {
  return *reinterpret_cast<Frame*>(space.area.bytes.data() + kFrameOffset);
}

// Displacement of a table's part from the frame.
constexpr i32 table_offset(AccessMode mode, bool is_write, bool is_addend) {
  const u64 side = is_write ? offsetof(TlbTable, write) : offsetof(TlbTable, read);
  const u64 part = is_addend ? offsetof(TlbSide, addends) : offsetof(TlbSide, tags);
  return static_cast<i32>(offsetof(Mmu::AddressSpace, tables) - kFrameOffset - kFrameBias +
                          mode * sizeof(TlbTable) + side + part);
}
constexpr i32 jump_offset(AccessMode mode, bool is_code) {
  return static_cast<i32>(offsetof(Frame, jumps) - kFrameBias + mode * sizeof(JumpCache) +
                          (is_code ? offsetof(JumpCache, codes) : offsetof(JumpCache, keys)));
}

}  // namespace doppel::jit
