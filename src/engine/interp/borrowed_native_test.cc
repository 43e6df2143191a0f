// The native oracle: code that loads every register, runs one instruction and stores every register.
#include "engine/interp/borrowed_native_test.h"

#include <sys/mman.h>

#include <bit>
#include <cstddef>
#include <cstring>

#include "base/verify.h"

namespace doppel::test {
namespace {

constexpr size_t kPage = 4096;

// The second page.
struct Block {
  NativeRegisters registers;
  u64 host_rsp;
  u32 host_mxcsr;
};

constexpr size_t kRegisters = kPage + offsetof(Block, registers);
constexpr size_t kFlags = kRegisters + offsetof(NativeRegisters, flags);
constexpr size_t kMxcsr = kRegisters + offsetof(NativeRegisters, mxcsr);
constexpr size_t kFx = kRegisters + offsetof(NativeRegisters, fx);
constexpr size_t kHostRsp = kPage + offsetof(Block, host_rsp);
constexpr size_t kHostMxcsr = kPage + offsetof(Block, host_mxcsr);

}  // namespace

NativeRunner::NativeRunner() {
  void* memory = ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  VERIFY(memory != MAP_FAILED);
  memory_ = static_cast<u8*>(memory);
  cursor_ = memory_;
}

NativeRunner::~NativeRunner() { ::munmap(memory_, 2 * kPage); }

void NativeRunner::put(std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) *cursor_++ = static_cast<u8>(byte);
}

// opcode modrm(rip + distance to `offset`)
void NativeRunner::put_relative(std::initializer_list<unsigned> opcode, unsigned modrm_reg, size_t offset) {
  put(opcode);
  put({modrm_reg << 3 | 5});
  const auto distance = static_cast<i32>(static_cast<i64>(offset) - (cursor_ + 4 - memory_));
  std::memcpy(cursor_, &distance, 4);
  cursor_ += 4;
}

void NativeRunner::move_gprs(unsigned opcode) {
  for (unsigned i = 0; i < 16; ++i) put_relative({0x48 | i >> 3 << 2, opcode}, i & 7, kRegisters + i * 8);
}

void NativeRunner::move_vectors(unsigned opcode) {
  for (unsigned i = 0; i < 16; ++i) {
    put_relative({0xc4, 0x61u | (i < 8 ? 0x80u : 0u), 0x7c, opcode}, i & 7,
                 kRegisters + offsetof(NativeRegisters, ymm) + i * 32);
  }
}

void NativeRunner::run(std::span<const u8> instruction, NativeRegisters& registers) {
  auto* block = reinterpret_cast<Block*>(memory_ + kPage);
  VERIFY(::mprotect(memory_, kPage, PROT_READ | PROT_WRITE) == 0);
  cursor_ = memory_;
  put({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // push rbx, rbp, r12..r15
  put_relative({0x48, 0x89}, 4, kHostRsp);
  put_relative({0x0f, 0xae}, 3, kHostMxcsr);  // stmxcsr
  put_relative({0x48, 0x0f, 0xae}, 1, kFx);   // fxrstor64
  put_relative({0x0f, 0xae}, 2, kMxcsr);      // ldmxcsr
  move_vectors(0x10);
  put_relative({0xff}, 6, kFlags);  // push
  put({0x9d});                      // popfq
  move_gprs(0x8b);
  instruction_address_ = std::bit_cast<u64>(cursor_);
  std::memcpy(cursor_, instruction.data(), instruction.size());
  cursor_ += instruction.size();
  move_gprs(0x89);
  put_relative({0x48, 0x8b}, 4, kHostRsp);
  put({0x9c});                      // pushfq
  put_relative({0x8f}, 0, kFlags);  // pop
  move_vectors(0x11);
  put_relative({0x0f, 0xae}, 3, kMxcsr);
  put_relative({0x48, 0x0f, 0xae}, 0, kFx);  // fxsave64
  put({0xdb, 0xe3});                         // fninit
  put_relative({0x0f, 0xae}, 2, kHostMxcsr);
  put({0xc5, 0xf8, 0x77});                                            // vzeroupper
  put({0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b});  // pop
  put({0xc3});
  VERIFY(cursor_ <= memory_ + kPage);
  block->registers = registers;
  VERIFY(::mprotect(memory_, kPage, PROT_READ | PROT_EXEC) == 0);
  std::bit_cast<void (*)()>(memory_)();
  registers = block->registers;
}

}  // namespace doppel::test
