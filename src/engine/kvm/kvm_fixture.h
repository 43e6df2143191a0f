// A vCPU of the host's KVM with 2 MiB of RAM and a platform that remembers; skipped where there is no KVM.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/host_inputs.h"
#include "engine/kvm/kvm_cpuid.h"
#include "engine/kvm/kvm_vcpu.h"
#include "x86/msr.h"

namespace doppel::kvm {

// Ports and device memory that note every access and answer with 5AH bytes. Owned by a test.
struct FakePlatform final : CpuPlatform, InterruptReturn {
  explicit FakePlatform(u64 tsc_hz) : inputs(tsc_hz) {}

  void read_mmio(GuestPhys address, std::span<u8> data) override {
    note(fmt::format("read {:x}+{}", address.value(), data.size()));
    std::ranges::fill(data, u8{0x5a});
  }
  void write_mmio(GuestPhys address, std::span<const u8> data) override {
    note(fmt::format("write {:x}+{} {:02x}", address.value(), data.size(), data[0]));
  }
  u32 read_port(u16 port, unsigned size) override {
    note(fmt::format("in {:x}+{}", port, size));
    return 0x5a5a5a5a;
  }
  void write_port(u16 port, unsigned size, u32 value) override {
    note(fmt::format("out {:x}+{} {:x}", port, size, value));
    if (on_write_port) on_write_port();
  }
  bool has_interrupt() override { return vector.has_value(); }
  std::optional<u8> acknowledge_interrupt() override { return std::exchange(vector, std::nullopt); }
  void return_interrupt(u8 value) override { vector = value; }
  u8 task_priority() override { return priority; }
  void set_task_priority(u8 value) override { priority = value; }
  std::optional<u64> read_msr(u32 index) override {
    if (index == x86::kMsrApicBase) return x86::kApicBaseDefault | x86::kApicBaseEnable;
    note(fmt::format("rdmsr {:x}", index));
    return 0x1122334455667788;
  }
  bool write_msr(u32 index, u64 value) override {
    note(fmt::format("wrmsr {:x} {:x}", index, value));
    if (on_write_msr) on_write_msr();
    return accepts_msrs;
  }
  void tsc_offset_changed(u64) override {}
  u64 hypercall(u64, std::span<const u64, 4>) override { return 0; }
  u64 tsc() override { return inputs.tsc(); }
  u64 entropy() override { return 0; }

  void note(const std::string& access) { log += access + "; "; }

  HostInputs inputs;
  std::string log;
  std::function<void()> on_write_port;
  std::function<void()> on_write_msr;
  bool accepts_msrs = true;
  std::optional<u8> vector;
  u8 priority = 0;
};

inline constexpr u64 kCode = 0x1000;

class KvmTest : public testing::Test {
 protected:
  void SetUp() override { make(DirtyTracking::kBest); }
  void make(DirtyTracking tracking) {
    vcpu_.reset();
    vm_.reset();
    Result<KvmDevice> device = KvmDevice::open();
    if (!device) GTEST_SKIP() << device.error().message;
    const u64 tsc_hz = u64{device->tsc_khz()} * 1000;
    platform_ = std::make_unique<FakePlatform>(tsc_hz);
    cpuid_ = *x86::CpuidTable::create(
        "host", {.tsc_hz = tsc_hz, .kvm_features = 0, .removed = missing_features(*device)});
    vm_ = *KvmVm::create(std::move(*device), *memory_, tsc_hz, tracking);
    Result<std::unique_ptr<Vcpu>> made =
        create_kvm_vcpu({.vm = *vm_, .platform = *platform_, .returned = *platform_, .cpuid = *cpuid_});
    ASSERT_TRUE(made) << made.error().message;
    vcpu_ = std::move(*made);
  }

  // Real mode, flat segments, running `code` at kCode.
  static CpuState real_mode(u64 rip = kCode) {
    CpuState state;
    reset_cpu_state(state, 0, false);
    state.cr0 = x86::kCr0Et;
    state.segment(x86::kCs) = {.selector = 0, .attributes = 0x9b, .limit = 0xffff, .base = 0};
    state.rip = rip;
    state.gpr[x86::kRsp] = 0x8000;
    return state;
  }
  void put(u64 address, std::initializer_list<u8> bytes) {
    std::ranges::copy(bytes, memory_->host(GuestPhys(address)));
  }
  Exit run(std::initializer_list<u8> code) {
    put(kCode, code);
    vcpu_->load(real_mode());
    return vcpu_->run({.instructions = ~u64{0}});
  }
  CpuState saved() {
    CpuState state;
    vcpu_->save(state);
    return state;
  }

  std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create(2 * kMiB));
  std::unique_ptr<FakePlatform> platform_;
  std::optional<x86::CpuidTable> cpuid_;
  std::unique_ptr<KvmVm> vm_;
  std::unique_ptr<Vcpu> vcpu_;
};

}  // namespace doppel::kvm
