// KvmVcpu: a vCPU that runs on the host's hardware virtualization.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "cpu/core.h"
#include "cpu/interrupt_return.h"
#include "cpu/vcpu.h"
#include "engine/kvm/kvm_debug.h"
#include "engine/kvm/kvm_run_page.h"
#include "engine/kvm/kvm_vm.h"
#include "x86/msr.h"

namespace doppel {

struct KvmVcpuConfig {
  kvm::KvmVm& vm;
  CpuPlatform& platform;
  InterruptReturn& returned;
  const x86::CpuidTable& cpuid;
  u32 apic_id = 0;
};

// An error where the machine's CPUID offers what this host's KVM lacks.
Result<std::unique_ptr<Vcpu>> create_kvm_vcpu(const KvmVcpuConfig& config);

}  // namespace doppel

namespace doppel::kvm {

struct Statistics {
  u64 port_exits = 0;
  u64 mmio_exits = 0;
  u64 msr_exits = 0;
  u64 halts = 0;
  u64 window_exits = 0;
  u64 interrupts = 0;
  u64 signals = 0;
  u64 unsupported = 0;
  u64 state_loads = 0;
  u64 full_dirty_rings = 0;
};

// One vCPU in KVM with everything outside the processor (interrupt controllers, timers, most model-specific
// registers) in this process: docs/decisions/0003. Owned by the machine; kept while another engine runs,
// because KVM never gives up a vCPU. Called as Vcpu says. `core_` holds the state that KVM does not, and
// delivers what KVM has begun to deliver when the state is taken out.
class KvmVcpu final : public Vcpu {
 public:
  explicit KvmVcpu(const KvmVcpuConfig& config);
  Result<void> open();

  Exit run(RunLimit limit) override;
  // Until a kick or a halt.
  bool runs_in_slices() const override { return false; }
  // KVM does not count: what was loaded.
  u64 instructions_retired() const override { return core_.state.instructions_retired; }
  void kick() override;
  void notify_interrupt() override;
  void notify_nmi() override;
  void end_halt() override {
    if (core_.state.activity == Activity::kHalted) core_.state.activity = Activity::kRunning;
  }
  void save(CpuState& state) override;
  void load(const CpuState& state) override;
  // A vCPU that steps, or stands at a breakpoint it reported, answers kUnsupported: another engine executes
  // that instruction without a trace of the debugger in it.
  Result<void> set_debug(const DebugControl& control) override;
  std::vector<std::pair<std::string_view, u64>> statistics() const override;
  void invalidate(GuestPhys, u64) override {}

 private:
  // kvm_vcpu.cc
  Exit finish(Exit exit);
  void enter();
  void complete();
  void handle_exit();
  void interrupt_run();
  void take_events();
  void take_nmi();
  void offer_interrupt();
  bool is_waiting() const;
  void stop_for_good(std::string reason);

  // kvm_exits.cc
  void do_port_access();
  void do_mmio_access();
  void do_msr_read();
  void do_msr_write();
  void report_error();

  // kvm_debug.cc
  void do_debug_exception();
  void raise_debug_exception(u64 causes);
  void check_reported();
  bool must_not_enter() const { return steps_ || reported_.has_value(); }

  // kvm_transfer.cc
  Result<void> read_state(CpuState& state, kvm_vcpu_events& events);
  Result<void> write_state(const CpuState& state);
  void settle();
  void meet_platform();
  Result<void> write_tsc_offset(u64 tsc_offset);
  Result<void> measure_time();
  void follow_time();

  KvmVm& vm_;
  CpuPlatform& platform_;
  InterruptReturn& returned_;
  const u32 apic_id_;
  Core core_;
  KvmFile file_;
  RunPage run_;
  Statistics statistics_;

  bool needs_completion_ = false;  // the next KVM_RUN ends the instruction of the last exit
  bool is_unsupported_ = false;    // KVM could not execute the instruction at RIP
  bool has_interrupt_flag_ = false;
  // What both sides know; load() must not ask the platform, whose lock the caller may hold.
  u8 task_priority_ = 0;  // CR8
  u64 apic_base_ = x86::kApicBaseDefault | x86::kApicBaseEnable;
  bool knows_platform_ = false;  // false: to be asked before the next run
  u64 kvm_tsc_offset_ = 0;       // guest TSC minus the host's (scaled)
  std::string failure_;          // why this vCPU cannot run on; empty: it can
  bool is_loaded_ = false;       // KVM has a state

  DebugPlan debug_;
  bool steps_ = false;
  std::optional<DebugHit> hit_;  // to be reported
  // The breakpoint reported last, and when; nothing once its instruction was executed.
  std::optional<u64> reported_;
  u64 reported_retired_ = 0;

  std::atomic<bool> kicked_ = false;
  std::atomic<bool> interrupt_hint_ = false;  // has_interrupt() should be asked
  std::atomic<bool> nmi_hint_ = false;
  std::atomic<bool> is_inside_ = false;  // `thread_` is in or near KVM_RUN
  std::atomic<pid_t> thread_ = 0;
};

}  // namespace doppel::kvm
