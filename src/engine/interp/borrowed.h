// Borrowed execution: x87, MMX and vector instructions of the guest run on the host's own processor.
#pragma once

#include <Zydis/Zydis.h>

#include <deque>
#include <span>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "cpu/code_buffer.h"
#include "cpu/instruction_feature.h"
#include "engine/interp/borrowed_stub.h"

namespace doppel {

// The stubs of one interpreter, each made once per distinct instruction form (the memory operand's address
// does not count). Owned by the interpreter of one vCPU, used on that vCPU's thread. Its memory is bounded:
// when is_full() after a failed make(), the owner drops every pointer to a stub and calls clear().
class BorrowedCode {
 public:
  static constexpr size_t kDefaultSize = 1 * kMiB;
  static Result<BorrowedCode> create(size_t size = kDefaultSize);

  // `operands`: all of them, instruction.operand_count, hidden ones too. `bytes`: the instruction, at least
  // instruction.length. nullptr when it cannot run borrowed or the buffer is full.
  const BorrowedStub* make(const ZydisDecodedInstruction& instruction,
                           std::span<const ZydisDecodedOperand> operands, std::span<const u8> bytes);

  bool is_full() const { return is_full_; }
  size_t stub_count() const { return stubs_.size(); }
  void clear();

 private:
  explicit BorrowedCode(CodeBuffer buffer) : buffer_(std::move(buffer)) {}

  CodeBuffer buffer_;
  std::deque<BorrowedStub> stubs_;
  std::unordered_map<std::string, const BorrowedStub*> by_key_;
  bool is_full_ = false;
};

// VPGATHERxx and VGATHERxx: never borrowed, their elements may fault one by one.
bool is_gather(const ZydisDecodedInstruction& instruction);

enum class BorrowedResult : u8 {
  kDone,
  kSimdException,  // #XM (#UD when CR4.OSXMMEXCPT is clear): only MXCSR's exception flags have changed
  kX87Exception,   // #MF (or FERR# when CR0.NE is clear): nothing has changed
};

// Runs the stub and does everything around it: pending x87 exceptions, unmasked SIMD exceptions, the pointers
// in x87 memory images. `memory` as for BorrowedStub::Entry; nothing is written to it unless kDone is
// returned. After kDone of a stub with uses_x87 the caller calls borrowed_fixup_x87().
BorrowedResult run_borrowed(const BorrowedStub& stub, CpuState& state, void* memory, u64* flags);

// Where an x87 instruction lies, for FIP, FDP and FOP: offsets in CS and in the operand's segment, and
// borrowed_x87_opcode().
struct X87Location {
  u64 instruction_offset = 0;
  u64 data_offset = 0;
  u16 opcode = 0;
};
u16 borrowed_x87_opcode(const ZydisDecodedInstruction& instruction);

// Sets the pointers as the processor does with CPUID.7.EBX[6] and [13] set: FIP after every non-control
// instruction, FDP and FOP only after one that raised an unmasked exception, FCS and FDS always 0.
void borrowed_fixup_x87(const BorrowedStub& stub, CpuState& state, const X87Location& location);

// For stubs with is_masked: bit n set = byte n of the operand is accessed.
u32 borrowed_enabled_bytes(const BorrowedStub& stub, const CpuState& state);

// An unmasked x87 exception waits for the next waiting instruction. SDM 1 8.7.
bool has_pending_x87_exception(const FxsaveArea& fx);

// VZEROUPPER and VZEROALL; outside 64-bit mode only registers 0..7 change. SDM 2C.
void zero_upper_vectors(CpuState& state, bool is_64bit);
void zero_all_vectors(CpuState& state, bool is_64bit);

}  // namespace doppel
