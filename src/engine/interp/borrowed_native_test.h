// NativeRunner: runs guest bytes directly on the host with a full register file, as the oracle for stubs.
#pragma once

#include <array>
#include <span>

#include "base/types.h"
#include "cpu/cpu_state.h"

namespace doppel::test {

// Everything a user-mode instruction can read or write, beside memory.
struct alignas(64) NativeRegisters {
  std::array<u64, 16> gpr = {};
  std::array<Ymm, 16> ymm = {};
  u64 flags = 2;
  u32 mxcsr = 0x1f80;
  FxsaveArea fx;
};

// One page of code beside one of registers; the code is written for each run and addresses the registers
// relative to RIP, so that all sixteen general registers are the instruction's. 64-bit mode only.
class NativeRunner {
 public:
  NativeRunner();
  ~NativeRunner();
  NativeRunner(const NativeRunner&) = delete;
  NativeRunner& operator=(const NativeRunner&) = delete;

  void run(std::span<const u8> instruction, NativeRegisters& registers);
  // Address of the instruction in the last run.
  u64 instruction_address() const { return instruction_address_; }

 private:
  void put(std::initializer_list<unsigned> bytes);
  void put_relative(std::initializer_list<unsigned> opcode, unsigned modrm_reg, size_t offset);
  void move_gprs(unsigned opcode);
  void move_vectors(unsigned opcode);

  u8* memory_;
  u8* cursor_;
  u64 instruction_address_ = 0;
};

}  // namespace doppel::test
