// The paging unit under test: a CPU state, page tables in RAM and shorthands for filling and looking.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "cpu/mmu.h"

namespace doppel::mmu_test {

// A CPU with nothing around it but open memory space. Owned by a test.
struct FakePlatform final : CpuPlatform {
  void read_mmio(GuestPhys, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void write_mmio(GuestPhys, std::span<const u8>) override {}
  u32 read_port(u16, unsigned) override { return 0; }
  void write_port(u16, unsigned, u32) override {}
  bool has_interrupt() override { return false; }
  std::optional<u8> acknowledge_interrupt() override { return std::nullopt; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  std::optional<u64> read_msr(u32) override { return std::nullopt; }
  bool write_msr(u32, u64) override { return false; }
  void tsc_offset_changed(u64) override {}
  u64 hypercall(u64, std::span<const u64, 4>) override { return 0; }
  u64 tsc() override { return 0; }
  u64 entropy() override { return 0; }
};

// Bits of a paging entry. SDM 3A table 4-20.
inline constexpr u64 kPresent = 0x1;
inline constexpr u64 kWritable = 0x2;
inline constexpr u64 kUserPage = 0x4;
inline constexpr u64 kAccessed = 0x20;
inline constexpr u64 kDirty = 0x40;
inline constexpr u64 kLarge = 0x80;
inline constexpr u64 kGlobal = 0x100;
inline constexpr u64 kSystem = kPresent | kWritable;  // a supervisor page
inline constexpr u64 kAny = kSystem | kUserPage;

// 4-level tables: one page table each for the addresses from 0, from kKernel, and for a second address space.
inline constexpr u64 kTop = 0x1000;
inline constexpr u64 kLowDirectory = 0x3000;
inline constexpr u64 kLowTable = 0x4000;
inline constexpr u64 kHighTable = 0x7000;
inline constexpr u64 kOtherTop = 0x8000;
inline constexpr u64 kKernel = 0xffffffffc0000000;
inline constexpr u64 kPage = 0x5000;  // the address the tests speak of
inline constexpr u64 kKeep = u64{1} << 63;

// Long mode with 4-level paging; nothing is mapped but the tables' own structure.
class PagingUnit : public testing::Test {
 protected:
  void SetUp() override {
    set(kTop, 0x2000 | kAny);
    set(0x2000, kLowDirectory | kAny);
    set(kLowDirectory, kLowTable | kAny);
    set(kTop + 511 * 8, 0x9000 | kAny);
    set(0x9000 + 511 * 8, 0xa000 | kAny);
    set(0xa000, kHighTable | kAny);
    set(kOtherTop, 0x2000 | kAny);
    state.cr0 = x86::kCr0Pg | x86::kCr0Pe | x86::kCr0Wp;
    state.cr3 = kTop;
    state.cr4 = x86::kCr4Pae;
    state.efer = x86::kEferLme | x86::kEferLma | x86::kEferNxe;
    mmu.flush_all();
  }
  void set(u64 address, u64 entry) { memory->write_value(GuestPhys(address), entry); }
  u64 entry_at(u64 address) const { return *memory->read_value<u64>(GuestPhys(address)); }
  // Maps the page at `va`, in the first 2 MiB of its half.
  void map(u64 va, u64 entry) {
    set((va < kKernel ? kLowTable : kHighTable) + ((va >> 12) & 511) * 8, entry);
  }
  void map_large(u64 va, u64 entry) { set(kLowDirectory + (va >> 21) * 8, entry | kLarge); }

  Translation fill(u64 va, Access access = Access::kRead, AccessMode mode = kSupervisor) {
    return mmu.fill(GuestVirt(va), access, mode);
  }
  bool can_read(u64 va, AccessMode mode = kSupervisor) { return mmu.table(mode).read.find(va, 1) != nullptr; }
  bool can_write(u64 va, AccessMode mode = kSupervisor) {
    return mmu.table(mode).write.find(va, 1) != nullptr;
  }
  u64 cached_frame(u64 va) { return mmu.physical(mmu.table(kSupervisor).read.find(va, 1)).value(); }
  void fetch(u64 va) { mmu.translate_code(GuestVirt(va), false); }
  u64 fetched_frame(u64 va) { return mmu.translate_code(GuestVirt(va), false).physical.value(); }
  u64 low_epoch() const { return mmu.code_epoch(false, 0); }
  u64 kernel_epoch() const { return mmu.code_epoch(false, 1); }
  void use_pcids() { state.cr4 |= x86::kCr4Pcide; }
  void write_cr3(u64 value) {
    state.cr3 = value & ~kKeep;
    mmu.switch_context(value);
  }

  std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(4 * kMiB));
  FakePlatform platform;
  CpuState state;
  Mmu mmu{state, *memory, platform};
};

}  // namespace doppel::mmu_test
