// The memory operand of a borrowed instruction: checked and fetched before it runs, stored afterwards.
#pragma once

#include "engine/interp/borrowed.h"
#include "engine/interp/semantic.h"

namespace doppel::interp {

constexpr unsigned kMaxVectorOperand = 512;

// Where the stub finds the guest's operand: in guest RAM directly, or in a bounce buffer.
struct OperandMemory {
  u64 va = 0;
  void* host = nullptr;
  bool is_bounced = false;
  alignas(64) u8 buffer[kMaxVectorOperand];
};

// All return false after a fault, with nothing changed.
bool prepare_operand(Interpreter& s, const Op& op, const BorrowedStub& stub, OperandMemory& memory);
bool finish_operand(Interpreter& s, const Op& op, const BorrowedStub& stub, OperandMemory& memory);
// Whether all of the operand could be stored.
bool probe_operand(Interpreter& s, const Op& op, const BorrowedStub& stub);
bool store_operand(Interpreter& s, const Op& op, const BorrowedStub& stub, const u8* data);

}  // namespace doppel::interp
