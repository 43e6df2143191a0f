// The stub cache.
#include "engine/interp/borrowed.h"

#include <bit>

#include "engine/interp/borrowed_emit.h"
#include "engine/interp/borrowed_plan.h"

namespace doppel {

Result<BorrowedCode> BorrowedCode::create(size_t size) {
  CodeBuffer buffer = TRY(CodeBuffer::create(size));
  return BorrowedCode(std::move(buffer));
}

const BorrowedStub* BorrowedCode::make(const ZydisDecodedInstruction& instruction,
                                       std::span<const ZydisDecodedOperand> operands,
                                       std::span<const u8> bytes) {
  const auto plan = plan_borrowed(instruction, operands, bytes);
  if (!plan) return nullptr;
  const std::span<const u8> key_bytes = plan->key.span();
  std::string key(key_bytes.begin(), key_bytes.end());
  if (const auto found = by_key_.find(key); found != by_key_.end()) return found->second;

  const StubCode code = emit_stub(*plan);
  const u8* address = buffer_.append(code.span());
  if (address == nullptr) {
    is_full_ = true;
    return nullptr;
  }
  BorrowedStub& stub = stubs_.emplace_back(plan->traits);
  stub.entry = std::bit_cast<BorrowedStub::Entry>(address);
  by_key_.emplace(std::move(key), &stub);
  return &stub;
}

void BorrowedCode::clear() {
  by_key_.clear();
  stubs_.clear();
  buffer_.clear();
  is_full_ = false;
}

bool is_gather(const ZydisDecodedInstruction& instruction) {
  return instruction.meta.isa_ext == ZYDIS_ISA_EXT_AVX2GATHER;
}

}  // namespace doppel
