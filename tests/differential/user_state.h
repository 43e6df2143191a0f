// UserState: what user code can see of a processor; the currency of the differential test.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "base/types.h"
#include "cpu/cpu_state.h"

namespace doppel::differential {

// The standard-format XSAVE area for x87, SSE and AVX. SDM 1 13.4.
struct alignas(64) XsaveArea {
  FxsaveArea legacy;  // unused_xmm holds the XMM registers here
  u64 xstate_bv = 7;
  u64 xcomp_bv = 0;
  std::array<u64, 6> header_reserved = {};
  std::array<std::array<u8, 16>, 16> ymm_high = {};
};
static_assert(sizeof(XsaveArea) == 832 && offsetof(XsaveArea, ymm_high) == 576);

// Field offsets are known to native_entry.cc.
struct alignas(64) UserState {
  std::array<u64, 16> gpr = {};
  u64 rip = 0;
  u64 rflags = 2;
  u64 fs_base = 0;
  u64 gs_base = 0;
  std::array<u64, 4> reserved = {};
  XsaveArea xsave;
};
static_assert(offsetof(UserState, rip) == 128 && offsetof(UserState, xsave) == 192);
static_assert(sizeof(UserState) == 1024);

// What one instruction did.
struct Outcome {
  static constexpr int kNoFault = -1;

  UserState state;  // at the fault when there was one
  int vector = kNoFault;
  u32 error_code = 0;
  u64 cr2 = 0;  // meaningful for vector 14
};

// One instruction placed in the code window.
struct Placement {
  std::array<u8, 15> bytes = {};
  u8 length = 0;
  u64 address = 0;
  u64 branch_target = 0;  // 0: does not branch
  bool is_compat = false;

  u64 next() const { return address + length; }
  std::span<const u8> code() const { return {bytes.data(), length}; }
};

}  // namespace doppel::differential
