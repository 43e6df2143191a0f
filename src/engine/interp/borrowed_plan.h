// BorrowedPlan: what one guest instruction needs in order to run on the host, found from its decoding.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <optional>
#include <span>

#include "base/types.h"
#include "engine/interp/borrowed_stub.h"

namespace doppel {

// The instruction as bytes for 64-bit mode, at most one prefix of each kind, a 3-byte VEX.
struct HostInstruction {
  std::array<u8, 16> bytes = {};
  u8 length = 0;

  void put(unsigned value) { bytes[length++] = static_cast<u8>(value); }
  std::span<const u8> span() const { return {bytes.data(), length}; }
  bool operator==(const HostInstruction&) const = default;
};

// Registers by number (bit n = register n) and the host registers chosen around them. A plain value, made by
// plan_borrowed() and consumed by emit_stub().
struct BorrowedPlan {
  BorrowedStub traits;
  u16 gprs_used = 0;
  u16 gprs_written = 0;
  u16 vectors_used = 0;
  u16 vectors_written = 0;
  bool loads_flags = false;     // the instruction reads flags or leaves some as they are
  u8 state_register = 7;        // holds the CpuState pointer during the instruction
  u8 memory_register = 6;       // holds the memory operand's address
  u8 rsp_substitute = 4;        // stands for the guest's RSP; 4 when the instruction does not name RSP
  HostInstruction instruction;  // with the choices above
  HostInstruction key;          // without them: equal keys mean equal stubs
};

// nullopt when the instruction cannot run borrowed. `bytes` are the instruction's own.
std::optional<BorrowedPlan> plan_borrowed(const ZydisDecodedInstruction& instruction,
                                          std::span<const ZydisDecodedOperand> operands,
                                          std::span<const u8> bytes);

// Re-encodes the instruction for 64-bit mode with the memory operand [memory_register] and `rsp_substitute`
// for RSP. borrowed_encode.cc.
HostInstruction encode_for_host(const ZydisDecodedInstruction& instruction,
                                std::span<const ZydisDecodedOperand> operands, std::span<const u8> bytes,
                                unsigned memory_register, unsigned rsp_substitute);

}  // namespace doppel
