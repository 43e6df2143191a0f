// The loop around KVM_RUN: events in, exits out.
#include "engine/kvm/kvm_vcpu.h"

#include "base/log.h"
#include "engine/kvm/kvm_cpuid.h"
#include "engine/kvm/kvm_signal.h"

namespace doppel {

Result<std::unique_ptr<Vcpu>> create_kvm_vcpu(const KvmVcpuConfig& config) {
  TRY_VOID(kvm::check_cpuid(config.vm.device(), config.cpuid));
  auto vcpu = std::make_unique<kvm::KvmVcpu>(config);
  TRY_VOID(vcpu->open());
  return vcpu;
}

}  // namespace doppel

namespace doppel::kvm {

KvmVcpu::KvmVcpu(const KvmVcpuConfig& config)
    : vm_(config.vm),
      platform_(config.platform),
      returned_(config.returned),
      apic_id_(config.apic_id),
      core_(config.vm.memory(), config.platform, config.cpuid) {
  core_.mmu.set_physical_bits(config.cpuid.physical_address_bits());
}

Result<void> KvmVcpu::open() {
  const int size = TRY(vm_.device().file().call(KVM_GET_VCPU_MMAP_SIZE, 0, "size of a vCPU"));
  file_ = KvmFile(UniqueFd(TRY(vm_.file().call(KVM_CREATE_VCPU, u64{apic_id_}, "creating a vCPU"))));
  TRY_VOID(run_.map(file_, static_cast<u64>(size)));
  TRY_VOID(vm_.add_vcpu(file_));
  TRY_VOID(load_cpuid(file_, core_.cpuid, apic_id_));
  if (vm_.scaled_tsc_khz() != 0) {
    TRY_VOID(file_.apply(KVM_SET_TSC_KHZ, u64{vm_.scaled_tsc_khz()}, "setting the TSC's rate"));
  }
  TRY_VOID(write_tsc_offset(0));
  if (vm_.tsc_measured_at() == 0) TRY_VOID(measure_time());
  return {};
}

void KvmVcpu::kick() {
  kicked_ = true;
  interrupt_run();
}

void KvmVcpu::notify_interrupt() {
  interrupt_hint_ = true;
  interrupt_run();
}

void KvmVcpu::notify_nmi() {
  nmi_hint_ = true;
  interrupt_run();
}

// The flag stops a KVM_RUN that has not begun, the signal one that has.
void KvmVcpu::interrupt_run() {
  run_.set_immediate_exit(true);
  if (is_inside_) send_kick_signal(thread_);
}

void KvmVcpu::stop_for_good(std::string reason) {
  LOG_WARNING("engine kvm: vCPU {}: {}", apic_id_, reason);
  failure_ = std::move(reason);
}

bool KvmVcpu::is_waiting() const { return core_.state.activity != Activity::kRunning; }

Exit KvmVcpu::run(RunLimit limit) {
  if (limit.instructions == 0) return {ExitReason::kBudget, {}};
  thread_ = current_thread();
  for (;;) {
    // Before the flags are looked at: whoever sets one afterwards sets this too.
    run_.set_immediate_exit(false);
    if (!failure_.empty()) return {ExitReason::kShutdown, failure_};
    if (core_.state.activity == Activity::kShutdown) return finish({ExitReason::kShutdown, "triple fault"});
    if (is_unsupported_) return finish({ExitReason::kUnsupported, {}});
    if (hit_) return finish({.reason = ExitReason::kDebug, .detail = {}, .debug = *std::exchange(hit_, {})});
    if (kicked_.exchange(false)) return finish({ExitReason::kKicked, {}});
    if (must_not_enter()) return finish({ExitReason::kUnsupported, {}});
    if (!knows_platform_) meet_platform();
    follow_time();
    if (needs_completion_ && (interrupt_hint_ || nmi_hint_)) {
      complete();
      continue;
    }
    if (core_.state.activity != Activity::kWaitForSipi) take_events();
    if (is_waiting()) return finish({ExitReason::kHalted, {}});
    enter();
  }
}

// Ends the instruction of the last exit, so that registers are those of an instruction boundary.
Exit KvmVcpu::finish(Exit exit) {
  while (needs_completion_ && failure_.empty()) complete();
  if (exit.reason != ExitReason::kHalted && exit.reason != ExitReason::kShutdown) settle();
  if (!failure_.empty()) return {ExitReason::kShutdown, failure_};
  return exit;
}

// Without executing more. Before an interrupt is queued, too: ending an instruction can raise an exception
// (an MSR access that was refused does), and KVM forgets an interrupt that is queued when it injects one.
void KvmVcpu::complete() {
  run_.set_immediate_exit(true);
  enter();
}

void KvmVcpu::enter() {
  is_inside_ = true;
  const int answer = file_.try_call(KVM_RUN, 0);
  const int error = errno;
  is_inside_ = false;
  needs_completion_ = false;
  has_interrupt_flag_ = run_->if_flag != 0;
  if (const u8 priority = run_->cr8 & 0xf; priority != task_priority_) {
    task_priority_ = priority;
    platform_.set_task_priority(priority);
  }
  if (answer == 0) return handle_exit();
  if (error == EINTR || error == EAGAIN)
    ++statistics_.signals;
  else
    stop_for_good(fmt::format("KVM_RUN: {}", std::strerror(error)));
}

void KvmVcpu::handle_exit() {
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      return do_port_access();
    case KVM_EXIT_MMIO:
      return do_mmio_access();
    case KVM_EXIT_X86_RDMSR:
      return do_msr_read();
    case KVM_EXIT_X86_WRMSR:
      return do_msr_write();
    case KVM_EXIT_HLT:
      ++statistics_.halts;
      core_.state.activity = Activity::kHalted;
      return;
    case KVM_EXIT_SHUTDOWN:
      core_.state.activity = Activity::kShutdown;
      return;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      ++statistics_.window_exits;
      return;
    case KVM_EXIT_DEBUG:
      return do_debug_exception();
    case KVM_EXIT_DIRTY_RING_FULL:
      ++statistics_.full_dirty_rings;
      if (const Result<void> done = vm_.empty_dirty_rings(); !done) stop_for_good(done.error().message);
      return;
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_INTR:
      return;
    default:
      return report_error();
  }
}

void KvmVcpu::take_nmi() {
  if (!nmi_hint_.exchange(false)) return;
  file_.try_call(KVM_NMI, 0);
  if (core_.state.activity == Activity::kHalted) core_.state.activity = Activity::kRunning;
}

void KvmVcpu::take_events() {
  take_nmi();
  run_->request_interrupt_window = 0;
  if (interrupt_hint_) offer_interrupt();
}

void KvmVcpu::offer_interrupt() {
  const bool is_halted = core_.state.activity == Activity::kHalted;
  if (is_halted && !has_interrupt_flag_) return;
  interrupt_hint_ = false;
  if (!platform_.has_interrupt()) return;
  interrupt_hint_ = true;
  core_.state.activity = Activity::kRunning;
  if (run_->ready_for_interrupt_injection == 0) {
    run_->request_interrupt_window = 1;
    return;
  }
  const std::optional<u8> vector = platform_.acknowledge_interrupt();
  if (!vector) return;
  ++statistics_.interrupts;
  const kvm_interrupt interrupt{.irq = *vector};
  if (file_.try_call(KVM_INTERRUPT, &interrupt) != 0) {
    stop_for_good(fmt::format("interrupt {}: {}", *vector, std::strerror(errno)));
  }
  run_->ready_for_interrupt_injection = 0;
  run_->request_interrupt_window = platform_.has_interrupt() ? 1 : 0;
}

std::vector<std::pair<std::string_view, u64>> KvmVcpu::statistics() const {
  return {{"port_exits", statistics_.port_exits},     {"mmio_exits", statistics_.mmio_exits},
          {"msr_exits", statistics_.msr_exits},       {"halts", statistics_.halts},
          {"window_exits", statistics_.window_exits}, {"interrupts", statistics_.interrupts},
          {"signals", statistics_.signals},           {"unsupported", statistics_.unsupported},
          {"state_loads", statistics_.state_loads},   {"full_dirty_rings", statistics_.full_dirty_rings}};
}

}  // namespace doppel::kvm
