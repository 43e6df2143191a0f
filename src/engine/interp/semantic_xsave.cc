// Saving and restoring processor state: FXSAVE, FXRSTOR and the XSAVE family. SDM 1 chapters 10.5 and 13.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "engine/interp/save_area.h"
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

constexpr unsigned kLegacySize = 512;
constexpr unsigned kMxcsrOffset = 24;
constexpr unsigned kRegistersOffset = 32;  // ST0 to ST7
constexpr unsigned kSseOffset = 160;
constexpr unsigned kHeaderOffset = 512;
constexpr unsigned kAvxOffset = 576;
constexpr unsigned kAreaSize = 832;
constexpr u64 kCompacted = u64{1} << 63;
constexpr u32 kMxcsrReserved = 0xffff0000;

struct Header {
  u64 xstate_bv = 0;
  u64 xcomp_bv = 0;
  u64 reserved[6] = {};
};
static_assert(sizeof(Header) == 64);

bool is_zero(const void* data, std::size_t size) {
  const auto* bytes = static_cast<const u8*>(data);
  for (std::size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

// Is the instruction allowed now? FXSAVE and FXRSTOR: CR0.EM and TS give #NM. SDM 1 13.7.
bool check_legacy(Interpreter& s) {
  const u64 blocked = x86::kCr0Em | x86::kCr0Ts;
  return (s.state.cr0 & blocked) == 0 || s.raise(x86::kVectorNm);
}
bool check_extended(Interpreter& s) {
  if ((s.state.cr4 & x86::kCr4Osxsave) == 0) return s.raise(x86::kVectorUd);
  return (s.state.cr0 & x86::kCr0Ts) == 0 || s.raise(x86::kVectorNm);
}

// x87 part of the legacy area; the pointers' layout depends on REX.W. SDM 1 table 10-2.
void store_x87(const CpuState& state, bool is_wide, u8* area) {
  const FxsaveArea& fx = state.fx;
  std::memcpy(area, &fx, 8);
  const u64 fip = is_wide ? fx.fip : fx.fip & 0xffffffff;
  const u64 fdp = is_wide ? fx.fdp : fx.fdp & 0xffffffff;
  std::memcpy(area + 8, &fip, 8);
  std::memcpy(area + 16, &fdp, 8);
  area[5] = 0;
  std::memcpy(area + 32, fx.st.data(), sizeof(fx.st));
  for (unsigned i = 0; i < 8; ++i) std::memset(area + 32 + 16 * i + 10, 0, 6);
}

void load_x87(CpuState& state, bool is_wide, const u8* area) {
  FxsaveArea& fx = state.fx;
  std::memcpy(&fx, area, 5);
  std::memcpy(&fx.fop, area + 6, 2);
  std::memcpy(&fx.fip, area + 8, 8);
  std::memcpy(&fx.fdp, area + 16, 8);
  if (!is_wide) {
    fx.fip &= 0xffffffff;
    fx.fdp &= 0xffffffff;
  }
  fx.fcw = static_cast<u16>((fx.fcw & 0x1f7f) | 0x40);
  fx.fop &= 0x7ff;
  // ES and B follow from the exception flags and masks.
  const bool has_error = (fx.fsw & ~fx.fcw & 0x3f) != 0;
  fx.fsw = static_cast<u16>(has_error ? fx.fsw | 0x8080 : fx.fsw & ~0x8080);
  std::memcpy(fx.st.data(), area + 32, sizeof(fx.st));
  for (auto& st : fx.st) std::memset(st.data() + 10, 0, 6);
}

void reset_x87(CpuState& state) {
  const u32 mxcsr = state.fx.mxcsr;
  state.fx = FxsaveArea{};
  state.fx.mxcsr = mxcsr;
}

unsigned vector_count(const Interpreter& s) { return s.is_64bit ? 16 : 8; }

void store_sse(const Interpreter& s, u8* area) {
  for (unsigned i = 0; i < vector_count(s); ++i) std::memcpy(area + 160 + 16 * i, &s.state.ymm[i], 16);
}
void load_sse(Interpreter& s, const u8* area) {
  for (unsigned i = 0; i < vector_count(s); ++i) std::memcpy(&s.state.ymm[i], area + 160 + 16 * i, 16);
}
void store_avx(const Interpreter& s, u8* area) {
  for (unsigned i = 0; i < vector_count(s); ++i) std::memcpy(area + 16 * i, &s.state.ymm[i].qword[2], 16);
}
void load_avx(Interpreter& s, const u8* area) {
  for (unsigned i = 0; i < vector_count(s); ++i) std::memcpy(&s.state.ymm[i].qword[2], area + 16 * i, 16);
}

Flow fxsave(Interpreter& s, const Op& op, const Insn& insn) {
  SaveArea memory(s, op);
  u8 area[kLegacySize] = {};
  // Bytes 464..511 are the guest's own and stay.
  // Of two faulting pages the one with the last register is reported.
  if (!check_legacy(s) || !memory.check_alignment(16, true) || !memory.probe_write(kSseOffset + 255, 1) ||
      !memory.probe_write(0, kLegacySize) || !memory.read(0, area, kLegacySize)) {
    return Flow::kFault;
  }
  store_x87(s.state, insn.mnemonic == ZYDIS_MNEMONIC_FXSAVE64, area);
  std::memcpy(area + kMxcsrOffset, &s.state.fx.mxcsr, 4);
  std::memcpy(area + kMxcsrOffset + 4, &s.state.fx.mxcsr_mask, 4);
  store_sse(s, area);
  return fault_of(memory.write(0, area, kLegacySize));
}

bool check_mxcsr(Interpreter& s, const u8* area, u32& mxcsr) {
  std::memcpy(&mxcsr, area + 24, 4);
  return (mxcsr & kMxcsrReserved) == 0 || s.raise(x86::kVectorGp, 0);
}

Flow fxrstor(Interpreter& s, const Op& op, const Insn& insn) {
  SaveArea memory(s, op);
  u8 area[kLegacySize];
  u32 mxcsr;
  if (!check_legacy(s) || !memory.check_alignment(16, false) || !memory.read(0, area, kLegacySize) ||
      !check_mxcsr(s, area, mxcsr)) {
    return Flow::kFault;
  }
  load_x87(s.state, insn.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64, area);
  s.state.fx.mxcsr = mxcsr;
  load_sse(s, area);
  return Flow::kNext;
}

// Components that are not in their initial configuration. SDM 1 13.6.
u64 components_in_use(const CpuState& state) {
  u64 in_use = 0;
  const FxsaveArea initial;
  const FxsaveArea& fx = state.fx;
  const bool is_x87_initial = std::memcmp(&fx, &initial, 24) == 0 && is_zero(fx.st.data(), sizeof(fx.st));
  if (!is_x87_initial) in_use |= x86::kXcr0X87;
  for (const Ymm& ymm : state.ymm) {
    if ((ymm.qword[0] | ymm.qword[1]) != 0) in_use |= x86::kXcr0Sse;
    if ((ymm.qword[2] | ymm.qword[3]) != 0) in_use |= x86::kXcr0Avx;
  }
  return in_use;
}

u64 requested(const Interpreter& s) {
  const u64 mask = (s.state.gpr[x86::kRdx] << 32) | (s.state.gpr[x86::kRax] & 0xffffffff);
  return mask & s.state.xcr0;
}

bool is_wide_form(const Insn& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_XSAVE64 || insn.mnemonic == ZYDIS_MNEMONIC_XSAVEOPT64 ||
         insn.mnemonic == ZYDIS_MNEMONIC_XSAVEC64 || insn.mnemonic == ZYDIS_MNEMONIC_XRSTOR64;
}

// Alignment, which on AMD's processors comes before the address's other faults. And they touch the start of
// an area whatever is asked for.
bool check_area(Interpreter& s, const Op& op, SaveArea& memory, bool is_write) {
  constexpr unsigned kAlignment = 64;
  if (!s.cpuid.is_amd()) return memory.check_alignment(kAlignment, is_write);
  if (!is_aligned(s, op, kAlignment)) return s.raise(x86::kVectorGp, 0);
  u8 first;
  return is_write ? memory.probe_write(0, 1) : memory.read(0, &first, 1);
}

// The bytes of a save area that one instruction touches, in address order.
class Pieces {
 public:
  void add(unsigned offset, unsigned size) { add(offset, size, size); }
  // Sixteen registers, of which 32-bit code moves eight: all must be accessible, as Intel's processors have
  // it.
  void add_vectors(unsigned offset, unsigned count) { add(offset, 16 * count, 256); }
  void add_x87() {
    add(0, kMxcsrOffset);
    add(kRegistersOffset, kSseOffset - kRegistersOffset);
  }
  bool read(SaveArea& memory, u8* area) const {
    return each(
        [&](const Piece& piece) { return memory.read(piece.offset, area + piece.offset, piece.reach); });
  }
  bool write(SaveArea& memory, const u8* area) const {
    return each([&](const Piece& piece) { return memory.probe_write(piece.offset, piece.reach); }) &&
           each([&](const Piece& piece) {
             return memory.write(piece.offset, area + piece.offset, piece.size);
           });
  }

 private:
  struct Piece {
    unsigned offset;
    unsigned size;
    unsigned reach;
  };
  void add(unsigned offset, unsigned size, unsigned reach) { pieces_[count_++] = {offset, size, reach}; }
  template <class F>
  bool each(F f) const {
    return std::ranges::all_of(std::span(pieces_).first(count_), f);
  }

  std::array<Piece, 8> pieces_;
  unsigned count_ = 0;
};

// XSAVE and XSAVEOPT write each requested component in place; XSAVEC leaves out initial ones. Nothing else is
// written; of the header, XSTATE_BV and for XSAVEC also XCOMP_BV. SDM 1 13.7, 13.10.
template <bool kCompact>
Flow xsave(Interpreter& s, const Op& op, const Insn& insn) {
  const u64 components = requested(s);
  const u64 in_use = components_in_use(s.state);
  SaveArea memory(s, op);
  u8 area[kAreaSize];
  Header header;
  constexpr unsigned kHeaderBytes = kCompact ? 16 : 8;
  if (!check_extended(s) || !check_area(s, op, memory, true) ||
      !memory.probe_write(kHeaderOffset, kHeaderBytes) ||
      !memory.read(kHeaderOffset, reinterpret_cast<u8*>(&header), kHeaderBytes)) {
    return Flow::kFault;
  }
  Pieces pieces;
  const u64 saved = kCompact ? components & in_use : components;
  if ((saved & x86::kXcr0X87) != 0) {
    store_x87(s.state, is_wide_form(insn), area);
    pieces.add_x87();
  }
  if ((components & (kCompact ? x86::kXcr0Sse : x86::kXcr0Sse | x86::kXcr0Avx)) != 0) {
    std::memcpy(area + kMxcsrOffset, &s.state.fx.mxcsr, 4);
    std::memcpy(area + kMxcsrOffset + 4, &s.state.fx.mxcsr_mask, 4);
    pieces.add(kMxcsrOffset, 8);
  }
  if ((saved & x86::kXcr0Sse) != 0) {
    store_sse(s, area);
    pieces.add_vectors(kSseOffset, vector_count(s));
  }
  header.xstate_bv =
      kCompact ? components & in_use : (header.xstate_bv & ~components) | (components & in_use);
  header.xcomp_bv = kCompacted | components;
  std::memcpy(area + kHeaderOffset, &header, kHeaderBytes);
  pieces.add(kHeaderOffset, kHeaderBytes);
  if ((saved & x86::kXcr0Avx) != 0) {
    store_avx(s, area + kAvxOffset);
    pieces.add_vectors(kAvxOffset, vector_count(s));
  }
  return fault_of(pieces.write(memory, area));
}

// SDM 1 13.8: what makes XRSTOR fault.
bool check_header(Interpreter& s, const Header& header) {
  const bool is_compacted = (header.xcomp_bv & kCompacted) != 0;
  bool is_good;
  if (is_compacted) {
    const u64 format = header.xcomp_bv & ~kCompacted;
    is_good = s.cpuid.has(x86::Feature::kXsavec) && (format & ~s.state.xcr0) == 0 &&
              (header.xstate_bv & ~format) == 0 && is_zero(header.reserved, sizeof(header.reserved));
  } else {
    is_good = header.xcomp_bv == 0 && header.reserved[0] == 0 && (header.xstate_bv & ~s.state.xcr0) == 0;
  }
  return is_good || s.raise(x86::kVectorGp, 0);
}

Flow xrstor(Interpreter& s, const Op& op, const Insn& insn) {
  const u64 components = requested(s);
  SaveArea memory(s, op);
  u8 area[kAreaSize] = {};
  if (!check_extended(s) || !check_area(s, op, memory, false) ||
      !memory.read(kHeaderOffset, area + kHeaderOffset, sizeof(Header))) {
    return Flow::kFault;
  }
  Header header;
  std::memcpy(&header, area + kHeaderOffset, sizeof(header));
  if (!check_header(s, header)) return Flow::kFault;
  const bool is_compacted = (header.xcomp_bv & kCompacted) != 0;
  const u64 present = components & header.xstate_bv;
  const u64 mxcsr_users = is_compacted ? x86::kXcr0Sse : x86::kXcr0Sse | x86::kXcr0Avx;
  Pieces pieces;
  if ((present & x86::kXcr0X87) != 0) pieces.add_x87();
  if ((components & mxcsr_users) != 0) pieces.add(kMxcsrOffset, 8);
  if ((present & x86::kXcr0Sse) != 0) pieces.add_vectors(kSseOffset, vector_count(s));
  if ((present & x86::kXcr0Avx) != 0) pieces.add_vectors(kAvxOffset, vector_count(s));
  if (!pieces.read(memory, area)) return Flow::kFault;
  u32 mxcsr = s.state.fx.mxcsr;
  if ((components & mxcsr_users) != 0) {
    if (is_compacted && (present & x86::kXcr0Sse) == 0)
      mxcsr = 0x1f80;
    else if (!check_mxcsr(s, area, mxcsr))
      return Flow::kFault;
  }
  static constexpr u8 kZero[kAreaSize] = {};
  if ((components & x86::kXcr0X87) != 0) {
    if ((present & x86::kXcr0X87) != 0)
      load_x87(s.state, is_wide_form(insn), area);
    else
      reset_x87(s.state);
  }
  if ((components & x86::kXcr0Sse) != 0) load_sse(s, (present & x86::kXcr0Sse) != 0 ? area : kZero);
  if ((components & x86::kXcr0Avx) != 0)
    load_avx(s, (present & x86::kXcr0Avx) != 0 ? area + kAvxOffset : kZero);
  s.state.fx.mxcsr = mxcsr;
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_FXSAVE, &fxsave},         {ZYDIS_MNEMONIC_FXSAVE64, &fxsave},
    {ZYDIS_MNEMONIC_FXRSTOR, &fxrstor},       {ZYDIS_MNEMONIC_FXRSTOR64, &fxrstor},
    {ZYDIS_MNEMONIC_XSAVE, &xsave<false>},    {ZYDIS_MNEMONIC_XSAVE64, &xsave<false>},
    {ZYDIS_MNEMONIC_XSAVEOPT, &xsave<false>}, {ZYDIS_MNEMONIC_XSAVEOPT64, &xsave<false>},
    {ZYDIS_MNEMONIC_XSAVEC, &xsave<true>},    {ZYDIS_MNEMONIC_XSAVEC64, &xsave<true>},
    {ZYDIS_MNEMONIC_XRSTOR, &xrstor},         {ZYDIS_MNEMONIC_XRSTOR64, &xrstor},
};

}  // namespace

std::span<const SemanticRow> xsave_rows() { return kRows; }

}  // namespace doppel::interp
