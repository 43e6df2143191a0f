// VcpuBackend: converts between UserState and CpuState around Vcpu::run(1).
#include "tests/differential/vcpu_backend.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "tests/differential/layout.h"

namespace doppel::differential {
namespace {

// A REP instruction may be returned from after any number of iterations.
constexpr int kMaxRuns = 20000;

// A machine without devices.
class NullPlatform : public CpuPlatform {
 public:
  void read_mmio(GuestPhys /*address*/, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void write_mmio(GuestPhys /*address*/, std::span<const u8> /*data*/) override {}
  u32 read_port(u16 /*port*/, unsigned /*size*/) override { return ~u32{0}; }
  void write_port(u16 /*port*/, unsigned /*size*/, u32 /*value*/) override {}
  bool has_interrupt() override { return false; }
  std::optional<u8> acknowledge_interrupt() override { return std::nullopt; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8 /*priority*/) override {}
  std::optional<u64> read_msr(u32 /*index*/) override { return std::nullopt; }
  bool write_msr(u32 /*index*/, u64 /*value*/) override { return false; }
  u64 hypercall(u64 /*number*/, std::span<const u64, 4> /*arguments*/) override { return ~u64{0}; }
  u64 tsc() override { return ++tsc_; }
  void tsc_offset_changed(u64 /*tsc_offset*/) override {}
  u64 entropy() override { return ++tsc_ * 0x9e3779b97f4a7c15; }

 private:
  u64 tsc_ = 0;
};

}  // namespace

void set_user_state(CpuState& state, const UserState& in) {
  state.gpr = in.gpr;
  state.rip = in.rip;
  state.rflags = in.rflags;
  state.segments[x86::kFs].base = in.fs_base;
  state.segments[x86::kGs].base = in.gs_base;
  state.fx = in.xsave.legacy;
  state.fx.unused_xmm = {};
  for (std::size_t i = 0; i < state.ymm.size(); ++i) {
    std::memcpy(&state.ymm[i].qword[0], in.xsave.legacy.unused_xmm[i].data(), 16);
    std::memcpy(&state.ymm[i].qword[2], in.xsave.ymm_high[i].data(), 16);
  }
}

void get_user_state(const CpuState& state, UserState& out) {
  out.gpr = state.gpr;
  out.rip = state.rip;
  out.rflags = state.rflags;
  out.fs_base = state.segments[x86::kFs].base;
  out.gs_base = state.segments[x86::kGs].base;
  out.xsave.legacy = state.fx;
  for (std::size_t i = 0; i < state.ymm.size(); ++i) {
    std::memcpy(out.xsave.legacy.unused_xmm[i].data(), &state.ymm[i].qword[0], 16);
    std::memcpy(out.xsave.ymm_high[i].data(), &state.ymm[i].qword[2], 16);
  }
}

VcpuBackend::VcpuBackend(std::unique_ptr<GuestMemory> memory)
    : memory_(std::move(memory)), world_(*memory_), platform_(std::make_unique<NullPlatform>()) {}

Result<std::unique_ptr<VcpuBackend>> VcpuBackend::create(const EngineFactory& factory) {
  std::unique_ptr<VcpuBackend> backend(new VcpuBackend(TRY(GuestMemory::create(GuestWorld::kRamSize))));
  backend->factory_ = factory;
  backend->vcpu_ = TRY(backend->factory_(*backend->memory_, *backend->platform_));
  return backend;
}

void VcpuBackend::place(const Placement& placement) {
  // All of it: the instruction before may have written anywhere.
  static constexpr auto kFiller = [] {
    std::array<u8, kCodeSize> bytes = {};
    bytes.fill(kInt3);
    return bytes;
  }();
  VERIFY(memory_->write(world_.code(), kFiller));
  placement_ = placement;
  VERIFY(memory_->write(world_.code() + (placement.address - kCodeBase), placement.code()));
  start_ = world_.initial_state(placement.is_compat);
}

void VcpuBackend::read_back(Outcome& out) {
  get_user_state(end_, out.state);
  out.vector = Outcome::kNoFault;
  out.error_code = 0;
  out.cr2 = 0;
  if ((end_.segments[x86::kCs].selector & 3) == 0) world_.read_fault(end_, out);
}

void VcpuBackend::run(const UserState& in, std::span<const u8> memory, Outcome& out) {
  std::memcpy(memory_->host(world_.data()), memory.data(), kDataSize);
  set_user_state(start_, in);
  vcpu_->load(start_);
  for (int i = 0; i < kMaxRuns; ++i) {
    vcpu_->run({.instructions = 1});
    vcpu_->save(end_);
    if (end_.rip != in.rip || placement_.branch_target == in.rip) break;
  }
  read_back(out);
}

std::span<const u8> VcpuBackend::window() const { return {memory_->host(world_.data()), kDataSize}; }

}  // namespace doppel::differential
