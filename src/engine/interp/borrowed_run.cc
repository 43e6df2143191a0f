// What has to happen around a stub so that the host never faults and the guest sees exact exceptions.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/verify.h"
#include "engine/interp/borrowed.h"

namespace doppel {
namespace {

// MXCSR. SDM 1 10.2.3.
constexpr u32 kMxcsrFlags = 0x3f;
constexpr unsigned kMxcsrMaskShift = 7;
constexpr u32 kMxcsrUnderflow = 1u << 4;
constexpr u32 kMxcsrFlushToZero = 1u << 15;
constexpr u32 kMxcsrValid = 0xffff;
// Invalid, denormal, divide by zero are found before an operation computes. SDM 1 11.5.2.
constexpr u32 kMxcsrBeforeComputing = 0x7;

// x87 status word. SDM 1 8.1.3.
constexpr u16 kFswExceptions = 0x3f;
constexpr u16 kFswSummary = 1u << 7;
constexpr u16 kFswBusy = 1u << 15;

constexpr size_t kMaxOperand = 128;  // FNSAVE's 108 bytes are the longest

u32 unmasked(u32 mxcsr) { return ~(mxcsr >> kMxcsrMaskShift) & kMxcsrFlags; }

// The registers a stub can write.
struct RegisterCopy {
  std::array<u64, x86::kGprCount> gpr;
  std::array<Ymm, 16> ymm;
  FxsaveArea fx;

  explicit RegisterCopy(const CpuState& state) : gpr(state.gpr), ymm(state.ymm), fx(state.fx) {}
  void restore(CpuState& state) const {
    state.gpr = gpr;
    state.ymm = ymm;
    state.fx = fx;
  }
};

// Runs with the exception flags clear; returns those that are set afterwards.
u32 probe(const BorrowedStub& stub, CpuState& state, void* memory, u64* flags) {
  state.fx.mxcsr &= ~kMxcsrFlags;
  stub.entry(&state, memory, flags);
  return state.fx.mxcsr & kMxcsrFlags;
}

// A masked underflow is flagged when tiny and inexact, an unmasked one when tiny: flushing to zero, which
// happens on tininess alone, tells. SDM 1 4.9.1.5, 10.2.3.3.
u32 probe_underflow(const BorrowedStub& stub, CpuState& state, void* memory, u64* flags) {
  const RegisterCopy before(state);
  state.fx.mxcsr |= kMxcsrFlushToZero;
  const u32 raised = probe(stub, state, memory, flags) & kMxcsrUnderflow;
  before.restore(state);
  return raised;
}

// The guest has unmasked SIMD exceptions: try on copies, commit when nothing unmasked was raised.
BorrowedResult run_unmasked_simd(const BorrowedStub& stub, CpuState& state, void* memory, u64* flags) {
  const RegisterCopy before(state);
  const u32 enabled = unmasked(state.fx.mxcsr);
  alignas(64) std::array<u8, kMaxOperand> operand = {};
  VERIFY(stub.memory_size <= operand.size());
  if (stub.memory_size != 0) std::memcpy(operand.data(), memory, stub.memory_size);
  u64 new_flags = flags != nullptr ? *flags : 0;

  u32 raised = 0;
  if ((enabled & kMxcsrUnderflow) != 0) {
    state.fx.mxcsr &= ~kMxcsrFlushToZero;  // ignored while underflow is unmasked
    alignas(64) std::array<u8, kMaxOperand> scratch = operand;
    u64 scratch_flags = new_flags;
    raised = probe_underflow(stub, state, scratch.data(), &scratch_flags);
  }
  raised |= probe(stub, state, operand.data(), &new_flags);
  if ((raised & enabled) == 0) {
    state.fx.mxcsr = before.fx.mxcsr | raised;
    if (stub.writes_memory) std::memcpy(memory, operand.data(), stub.memory_size);
    if (flags != nullptr) *flags = new_flags;
    return BorrowedResult::kDone;
  }
  before.restore(state);
  const bool is_early = (raised & enabled & kMxcsrBeforeComputing) != 0;
  state.fx.mxcsr |= is_early ? raised & kMxcsrBeforeComputing : raised;
  return BorrowedResult::kSimdException;
}

struct X87PointerValues {
  u64 fip;
  u64 fdp;
  u16 fop;
};

bool is_real_mode(const CpuState& state) {
  return (state.cr0 & x86::kCr0Pe) == 0 || (state.rflags & x86::kFlagVm) != 0;
}

// The environment: words (16-bit form) or double words; each array index is one field. SDM 1 8.1.10.
enum EnvironmentField : u8 { kFcw, kFsw, kFtw, kFip, kFcsFop, kFdp, kFds };

template <class Word>
Word get_field(const u8* image, EnvironmentField field) {
  Word value = 0;
  std::memcpy(&value, image + field * sizeof(Word), sizeof(Word));
  return value;
}

template <class Word>
void put_field(u8* image, EnvironmentField field, u64 value) {
  const auto word = static_cast<Word>(value);
  std::memcpy(image + field * sizeof(Word), &word, sizeof(Word));
}

// Figures 8-9 to 8-12 of SDM 1. The selectors read 0: CPUID.7.EBX[13].
template <class Word>
void store_pointers(u8* image, const X87PointerValues& pointers, bool is_real) {
  constexpr u64 kUnused = sizeof(Word) == 4 ? 0xffff0000 : 0;
  if (is_real) {
    constexpr u64 kHighBits = sizeof(Word) == 4 ? 0x0ffff000 : 0xf000;
    put_field<Word>(image, kFip, kUnused | (pointers.fip & 0xffff));
    put_field<Word>(image, kFcsFop, (pointers.fip >> 4 & kHighBits) | pointers.fop);
    put_field<Word>(image, kFdp, kUnused | (pointers.fdp & 0xffff));
    put_field<Word>(image, kFds, pointers.fdp >> 4 & kHighBits);
    return;
  }
  put_field<Word>(image, kFip, pointers.fip);
  put_field<Word>(image, kFcsFop, sizeof(Word) == 4 ? u64{pointers.fop} << 16 : 0);
  put_field<Word>(image, kFdp, pointers.fdp);
  put_field<Word>(image, kFds, kUnused);
}

template <class Word>
X87PointerValues load_pointers(const u8* image, bool is_real) {
  const u64 selector_and_opcode = get_field<Word>(image, kFcsFop);
  if (is_real) {
    constexpr u64 kHighBits = sizeof(Word) == 4 ? 0x0ffff000 : 0xf000;
    return {(get_field<Word>(image, kFip) & 0xffff) | (selector_and_opcode & kHighBits) << 4,
            (get_field<Word>(image, kFdp) & 0xffff) | (get_field<Word>(image, kFds) & kHighBits) << 4,
            static_cast<u16>(selector_and_opcode & 0x7ff)};
  }
  return {get_field<Word>(image, kFip), get_field<Word>(image, kFdp),
          static_cast<u16>(selector_and_opcode >> 16 & 0x7ff)};
}

// 14 and 94 bytes are the 16-bit forms of the environment and of all state.
bool is_16bit_image(const BorrowedStub& stub) { return stub.memory_size == 14 || stub.memory_size == 94; }

void patch_image(const BorrowedStub& stub, const CpuState& state, u8* image,
                 const X87PointerValues& pointers) {
  const bool is_real = is_real_mode(state);
  if (is_16bit_image(stub)) {
    store_pointers<u16>(image, pointers, is_real);
  } else {
    store_pointers<u32>(image, pointers, is_real);
  }
}

X87PointerValues image_pointers(const BorrowedStub& stub, const CpuState& state, const u8* image) {
  const bool is_real = is_real_mode(state);
  return is_16bit_image(stub) ? load_pointers<u16>(image, is_real) : load_pointers<u32>(image, is_real);
}

// A narrow store shortly before FXRSTOR costs a store-forwarding stall; most are not needed.
template <class T>
void set_if_changed(T& field, T value) {
  if (field != value) field = value;
}

// ES and B follow from the exceptions and their masks, whatever an image says; the host must not see
// otherwise.
void normalise_x87(FxsaveArea& fx) {
  u16 fsw = fx.fsw & static_cast<u16>(~(kFswSummary | kFswBusy));
  if (has_pending_x87_exception(fx)) fsw |= kFswSummary | kFswBusy;
  set_if_changed(fx.fsw, fsw);
  if ((fx.mxcsr & ~kMxcsrValid) != 0) fx.mxcsr &= kMxcsrValid;
}

// The host's own addresses must never show in guest state: images go through a private copy.
void run_x87(const BorrowedStub& stub, CpuState& state, void* memory, u64* flags) {
  const X87PointerValues old = {state.fx.fip, state.fx.fdp, state.fx.fop};
  normalise_x87(state.fx);
  if (stub.x87_image == X87Image::kNone) {
    stub.entry(&state, memory, flags);
  } else {
    alignas(64) std::array<u8, kMaxOperand> image = {};
    if (stub.x87_image == X87Image::kLoad) std::memcpy(image.data(), memory, stub.memory_size);
    const X87PointerValues loaded = image_pointers(stub, state, image.data());
    stub.entry(&state, image.data(), flags);
    state.fx.fip = loaded.fip;
    state.fx.fdp = loaded.fdp;
    state.fx.fop = loaded.fop;
    if (stub.x87_image == X87Image::kStore) {
      patch_image(stub, state, image.data(), old);
      std::memcpy(memory, image.data(), stub.memory_size);
    }
  }
  set_if_changed(state.fx.mxcsr_mask, kMxcsrValid);
  if (stub.x87_pointers == X87Pointers::kLoaded) return;
  const bool is_cleared = stub.x87_pointers == X87Pointers::kCleared;
  set_if_changed(state.fx.fip, is_cleared ? 0 : old.fip);
  set_if_changed(state.fx.fdp, is_cleared ? 0 : old.fdp);
  set_if_changed(state.fx.fop, is_cleared ? u16{0} : old.fop);
}

}  // namespace

bool has_pending_x87_exception(const FxsaveArea& fx) { return (fx.fsw & ~fx.fcw & kFswExceptions) != 0; }

BorrowedResult run_borrowed(const BorrowedStub& stub, CpuState& state, void* memory, u64* flags) {
  if (stub.waits_x87 && has_pending_x87_exception(state.fx)) return BorrowedResult::kX87Exception;
  if (stub.may_raise_simd && unmasked(state.fx.mxcsr) != 0) [[unlikely]] {
    if (stub.uses_mmx) normalise_x87(state.fx);
    const BorrowedResult result = run_unmasked_simd(stub, state, memory, flags);
    state.fx.mxcsr_mask = kMxcsrValid;
    return result;
  }
  if (stub.uses_x87 || stub.uses_mmx) {
    run_x87(stub, state, memory, flags);
  } else {
    stub.entry(&state, memory, flags);
  }
  return BorrowedResult::kDone;
}

u16 borrowed_x87_opcode(const ZydisDecodedInstruction& instruction) {
  const auto& modrm = instruction.raw.modrm;
  return static_cast<u16>((instruction.opcode & 7u) << 8 | modrm.mod << 6 | modrm.reg << 3 | modrm.rm);
}

void borrowed_fixup_x87(const BorrowedStub& stub, CpuState& state, const X87Location& location) {
  if (stub.x87_pointers != X87Pointers::kUpdated) return;
  state.fx.fip = location.instruction_offset;
  if (!has_pending_x87_exception(state.fx)) return;
  state.fx.fop = location.opcode & 0x7ff;
  if (stub.memory_size != 0) state.fx.fdp = location.data_offset;
}

u32 borrowed_enabled_bytes(const BorrowedStub& stub, const CpuState& state) {
  VERIFY(stub.is_masked);
  std::array<u8, sizeof(Ymm)> mask = {};
  if (stub.uses_mmx) {
    // MM registers are physical; the FXSAVE image counts from the top of stack. SDM 1 9.6.2.
    const unsigned top = state.fx.fsw >> 11 & 7;
    std::memcpy(mask.data(), state.fx.st[(stub.mask_register - top) & 7].data(), 8);
  } else {
    std::memcpy(mask.data(), &state.ymm[stub.mask_register], sizeof(Ymm));
  }
  u32 result = 0;
  const u32 element = (1u << stub.mask_element_size) - 1;
  for (unsigned i = 0; i < stub.memory_size; i += stub.mask_element_size) {
    const u8 sign_byte = mask[i + stub.mask_element_size - 1];
    if ((sign_byte & 0x80) != 0) result |= element << i;
  }
  return result;
}

void zero_upper_vectors(CpuState& state, bool is_64bit) {
  for (Ymm& ymm : std::span(state.ymm).first(is_64bit ? 16 : 8)) ymm.qword[2] = ymm.qword[3] = 0;
}

void zero_all_vectors(CpuState& state, bool is_64bit) {
  for (Ymm& ymm : std::span(state.ymm).first(is_64bit ? 16 : 8)) ymm = {};
}

}  // namespace doppel
