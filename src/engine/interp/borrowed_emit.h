// Writes the host code of a borrowed stub.
#pragma once

#include <array>
#include <span>

#include "engine/interp/borrowed_plan.h"

namespace doppel {

// The longest stub: sixteen of everything is far more than any instruction names.
inline constexpr size_t kMaxStubSize = 512;

// Host machine code under construction; a plain value.
class StubCode {
 public:
  std::span<const u8> span() const { return {bytes_.data(), size_}; }
  void put(unsigned byte);
  void put(std::initializer_list<unsigned> bytes);
  void put(std::span<const u8> bytes);
  void put32(u32 value);

 private:
  std::array<u8, kMaxStubSize> bytes_;
  size_t size_ = 0;
};

// A function with the signature BorrowedStub::Entry that runs the plan's instruction.
StubCode emit_stub(const BorrowedPlan& plan);

}  // namespace doppel
