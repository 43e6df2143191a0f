// Stub layout: save, load what the instruction reads, the instruction, store what it wrote, restore.
#include "engine/interp/borrowed_emit.h"

#include <cstddef>

#include "base/verify.h"
#include "x86/registers.h"

namespace doppel {
namespace {

// Frame below the saved registers, at [rsp + n].
constexpr unsigned kFrameMxcsr = 0;
constexpr unsigned kFrameFlags = 8;  // the caller's `flags` pointer
constexpr unsigned kFrameSize = 24;

constexpr u32 kDefaultMxcsr = 0x1f80;
constexpr u32 kDefaultControlWord = 0x37f;
constexpr u32 kMxcsrExceptionFlags = 0x3f;

constexpr u16 kCalleeSaved =
    1u << x86::kRbx | 1u << x86::kRbp | 1u << x86::kR12 | 1u << x86::kR13 | 1u << x86::kR14 | 1u << x86::kR15;

constexpr u32 gpr_offset(unsigned number) { return static_cast<u32>(offsetof(CpuState, gpr) + number * 8); }
constexpr u32 vector_offset(unsigned number) {
  return static_cast<u32>(offsetof(CpuState, ymm) + number * 32);
}
constexpr u32 kFxOffset = offsetof(CpuState, fx);
constexpr u32 kMxcsrOffset = kFxOffset + offsetof(FxsaveArea, mxcsr);

bool is_in(u16 set, unsigned number) { return (set >> number & 1) != 0; }

// Emits one stub. `scratch` registers are free before the loads and after the stores.
class StubEmitter {
 public:
  explicit StubEmitter(const BorrowedPlan& plan) : plan_(plan), traits_(plan.traits) {
    unsigned found = 0;
    for (const u8 number : {x86::kRax, x86::kRcx, x86::kRdx, x86::kRsi, x86::kRdi}) {
      if (number != plan.state_register && number != plan.memory_register && found < 2)
        scratch_[found++] = number;
    }
    saved_ = plan.gprs_used;
    if (plan.rsp_substitute != x86::kRsp) saved_ |= static_cast<u16>(1u << plan.rsp_substitute);
    saved_ |= static_cast<u16>(1u << plan.memory_register);
    saved_ &= kCalleeSaved;
  }

  StubCode run() {
    enter();
    load_modes();
    load_registers();
    code_.put(plan_.instruction.span());
    store_registers();
    store_modes();
    leave();
    return code_;
  }

 private:
  bool uses_fx() const { return traits_.uses_x87 || traits_.uses_mmx; }
  unsigned state() const { return plan_.state_register; }
  unsigned host_gpr(unsigned number) const { return number == x86::kRsp ? plan_.rsp_substitute : number; }

  // opcode [state + offset], reg
  void state_access(std::initializer_list<unsigned> opcode, unsigned reg, u32 offset, unsigned rex_w) {
    const unsigned rex = 0x40u | rex_w << 3 | (reg >> 3) << 2 | state() >> 3;
    if (rex != 0x40) code_.put(rex);
    code_.put(opcode);
    code_.put(0x80u | (reg & 7) << 3 | (state() & 7));
    code_.put32(offset);
  }

  // opcode [rsp + offset], reg; reg is below 8
  void frame_access(std::initializer_list<unsigned> opcode, unsigned reg, unsigned offset) {
    code_.put(opcode);
    code_.put({0x44u | reg << 3, 0x24, offset});
  }

  void push(unsigned reg) {
    if (reg >= 8) code_.put(0x41);
    code_.put(0x50u | (reg & 7));
  }
  void pop(unsigned reg) {
    if (reg >= 8) code_.put(0x41);
    code_.put(0x58u | (reg & 7));
  }
  void load_default_mxcsr() {
    frame_access({0xc7}, 0, kFrameMxcsr);  // mov dword [rsp], imm32
    code_.put32(kDefaultMxcsr);
    frame_access({0x0f, 0xae}, 2, kFrameMxcsr);  // ldmxcsr
  }

  // What FNINIT does to the state that code may rely on, in a third of its time: no exception pending, all
  // registers empty, default control word.
  void reset_x87() {
    code_.put({0xdb, 0xe2});               // fnclex
    code_.put({0x0f, 0x77});               // emms
    frame_access({0xc7}, 0, kFrameMxcsr);  // mov dword [rsp], imm32
    code_.put32(kDefaultControlWord);
    frame_access({0xd9}, 5, kFrameMxcsr);  // fldcw
  }

  // VMOVUPS ymm, [state + offset] and back.
  void vex_access(unsigned opcode, unsigned number, u32 offset) {
    const unsigned extensions = (number < 8 ? 0x80u : 0u) | 0x40u | (state() < 8 ? 0x20u : 0u);
    code_.put({0xc4, extensions | 1, 0x7c, opcode, 0x80u | (number & 7) << 3 | (state() & 7)});
    code_.put32(offset);
  }
  void vector_access(bool is_store, unsigned number) {
    const unsigned opcode = is_store ? 0x11 : 0x10;
    if (traits_.is_vex) {
      vex_access(opcode, number, vector_offset(number));
    } else {
      state_access({0x0f, opcode}, number, vector_offset(number), 0);
    }
  }

  void enter();
  void load_modes();
  void load_registers();
  void store_registers();
  void store_flags();
  void store_mxcsr();
  void store_modes();
  void leave();

  const BorrowedPlan& plan_;
  const BorrowedStub& traits_;
  std::array<u8, 2> scratch_ = {};
  u16 saved_ = 0;
  StubCode code_;
};

// rdi = state, rsi = memory, rdx = flags.
void StubEmitter::enter() {
  for (unsigned number = 0; number < x86::kGprCount; ++number) {
    if (is_in(saved_, number)) push(number);
  }
  code_.put({0x48, 0x83, 0xec, kFrameSize});         // sub rsp, kFrameSize
  code_.put({0x48, 0x89, 0x54, 0x24, kFrameFlags});  // mov [rsp + kFrameFlags], rdx
  push(x86::kRsi);
  code_.put({0x48u | state() >> 3, 0x89, 0xf8u | (state() & 7)});  // mov state, rdi
  pop(plan_.memory_register);
}

void StubEmitter::load_modes() {
  if (uses_fx()) state_access({0x0f, 0xae}, 1, kFxOffset, 1);  // fxrstor64
  const unsigned scratch = scratch_[0];
  if (traits_.may_raise_simd) {
    state_access({0x8b}, scratch, kMxcsrOffset, 0);  // mov scratch, [state.mxcsr]
    code_.put({0x81, 0xe0u | scratch});              // and scratch, 0xffff: reserved bits fault
    code_.put32(0xffff);
    code_.put({0x81, 0xc8u | scratch});  // or scratch, all exceptions masked
    code_.put32(kDefaultMxcsr);
    frame_access({0x89}, scratch, kFrameMxcsr);
    frame_access({0x0f, 0xae}, 2, kFrameMxcsr);  // ldmxcsr
  }
  if (plan_.loads_flags) {
    frame_access({0x48, 0x8b}, scratch, kFrameFlags);
    code_.put({0x8b, scratch << 3 | scratch});  // mov scratch, [scratch]
    code_.put({0x81, 0xe0u | scratch});         // and scratch, arithmetic flags
    code_.put32(static_cast<u32>(x86::kArithmeticFlags));
    push(scratch);
    code_.put(0x9d);  // popfq
  }
}

void StubEmitter::load_registers() {
  for (unsigned number = 0; number < 16; ++number) {
    if (is_in(plan_.vectors_used, number)) vector_access(false, number);
  }
  for (unsigned number = 0; number < x86::kGprCount; ++number) {
    if (is_in(plan_.gprs_used, number)) state_access({0x8b}, host_gpr(number), gpr_offset(number), 1);
  }
}

void StubEmitter::store_registers() {
  for (unsigned number = 0; number < x86::kGprCount; ++number) {
    if (is_in(plan_.gprs_written, number)) state_access({0x89}, host_gpr(number), gpr_offset(number), 1);
  }
  if (traits_.writes_flags) store_flags();
  for (unsigned number = 0; number < 16; ++number) {
    if (is_in(plan_.vectors_written, number)) vector_access(true, number);
  }
}

void StubEmitter::store_flags() {
  const unsigned flags = scratch_[0];
  const unsigned pointer = scratch_[1];
  constexpr auto kMask = static_cast<u32>(x86::kArithmeticFlags);
  code_.put(0x9c);  // pushfq
  pop(flags);
  code_.put({0x81, 0xe0u | flags});  // and flags, arithmetic
  code_.put32(kMask);
  frame_access({0x48, 0x8b}, pointer, kFrameFlags);
  code_.put({0x81, 0x20u | pointer});  // and dword [pointer], ~arithmetic
  code_.put32(~kMask);
  code_.put({0x09, flags << 3 | pointer});  // or [pointer], flags
}

// The guest keeps its control bits and gains the exception flags.
void StubEmitter::store_mxcsr() {
  const unsigned scratch = scratch_[0];
  frame_access({0x0f, 0xae}, 3, kFrameMxcsr);  // stmxcsr
  frame_access({0x8b}, scratch, kFrameMxcsr);
  code_.put({0x83, 0xe0u | scratch, kMxcsrExceptionFlags});  // and scratch, flags
  state_access({0x09}, scratch, kMxcsrOffset, 0);            // or [state.mxcsr], scratch
}

void StubEmitter::store_modes() {
  if (traits_.may_raise_simd) store_mxcsr();
  if (uses_fx()) {
    // FXSAVE also stores XMM and MXCSR: give it what the area held before.
    for (unsigned number = 0; number < 16; ++number) {
      if (!is_in(plan_.vectors_used, number)) continue;
      if (number >= 8) code_.put(0x45);
      code_.put({0x0f, 0x57, 0xc0u | (number & 7) << 3 | (number & 7)});  // xorps
    }
    if (traits_.may_raise_simd) state_access({0x0f, 0xae}, 2, kMxcsrOffset, 0);  // ldmxcsr
    state_access({0x0f, 0xae}, 0, kFxOffset, 1);                                 // fxsave64
    reset_x87();
  }
  if (uses_fx() || traits_.may_raise_simd) load_default_mxcsr();
  if (traits_.uses_avx) code_.put({0xc5, 0xf8, 0x77});  // vzeroupper
}

void StubEmitter::leave() {
  code_.put({0x48, 0x83, 0xc4, kFrameSize});  // add rsp, kFrameSize
  for (unsigned number = x86::kGprCount; number-- > 0;) {
    if (is_in(saved_, number)) pop(number);
  }
  code_.put(0xc3);
}

}  // namespace

void StubCode::put(unsigned byte) {
  VERIFY(size_ < bytes_.size());
  bytes_[size_++] = static_cast<u8>(byte);
}

void StubCode::put(std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) put(byte);
}

void StubCode::put(std::span<const u8> bytes) {
  for (const u8 byte : bytes) put(byte);
}

void StubCode::put32(u32 value) {
  for (unsigned shift = 0; shift < 32; shift += 8) put(value >> shift & 0xff);
}

StubCode emit_stub(const BorrowedPlan& plan) { return StubEmitter(plan).run(); }

}  // namespace doppel
