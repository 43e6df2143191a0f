// Machine: one virtual machine, assembled from its parts and run.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/host_inputs.h"
#include "base/input_points.h"
#include "base/instruction_inputs.h"
#include "base/timer_queue.h"
#include "boot/acpi_config.h"
#include "boot/load_guest.h"
#include "devices/registry.h"
#include "devices/vm_generation.h"
#include "engine/direct/stub_factory.h"
#include "engine/kvm/kvm_vm.h"
#include "irq/apic_bus.h"
#include "irq/hpet.h"
#include "irq/io_apic.h"
#include "irq/irq_router.h"
#include "irq/pic.h"
#include "irq/pit.h"
#include "irq/rtc.h"
#include "machine/balloon_report.h"
#include "machine/engine_choice.h"
#include "machine/engine_observation.h"
#include "machine/machine_debugger.h"
#include "machine/pci_platform.h"
#include "machine/run_result.h"
#include "machine/timer_alarm.h"
#include "machine/vcpu_set.h"
#include "machine/virtio_slots.h"
#include "x86/cpuid.h"

namespace doppel {

class TranslatedCode;
class TranslationStore;

enum class ClockSource : u8 {
  kHost,          // the host's monotonic clock
  kInstructions,  // one nanosecond an instruction: the same run every time
};

struct MachineConfig {
  BootConfig boot;
  u64 memory_bytes = 512 * kMiB;
  unsigned cpus = 1;                       // 1..kMaxVcpus
  std::vector<unsigned> host_cpus = {};    // vCPU i runs on the (i modulo size)th of these; empty: anywhere
  std::string cpu_template = "x86-64-v3";  // a name of CpuidTable
  ClockSource clock = ClockSource::kHost;
  EngineChoice engine = EngineChoice::kAuto;
  DirectUse direct = DirectUse::kAuto;
  bool counts_instructions = false;        // for run()'s limit; KVM does not count
  bool checks_translator = false;          // against the interpreter, block by block
  std::string translation_cache = {};      // the TranslationStore's file; empty: none
  bool is_switchable = false;              // every engine may be asked for while the machine runs
  std::vector<DeviceOption> devices = {};  // in the order in which they are plugged in
  ObservationConfig observation = {};
};

enum class StateScope : u8 { kAll, kRegisters };  // with RAM, or without

// Owns every part. create() assembles and loads the guest; run() executes until the machine stops: vCPU 0 on
// the calling thread, the others on threads of their own (with the instruction clock: all in turns on the
// calling thread). request_quit(), console_input(), press_power_button(), resize_terminal(), the balloon's,
// pause() and resume() may be called from other threads.
class Machine final : private MachineControl {
 public:
  // `console` gets what the guest's serial port sends, with the device lock held.
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config, CharacterSink& console);
  // The same without a guest (`config.boot` is not used): the caller loads a state, through visit_state() or
  // into memory() and vcpu().
  static Result<std::unique_ptr<Machine>> create_empty(const MachineConfig& config, CharacterSink& console);
  ~Machine() override;

  // At most `max_instructions` more, by all vCPUs together; exactly with one vCPU or the instruction clock.
  RunResult run(u64 max_instructions, WhenHalted when_halted = WhenHalted::kWait);

  void request_quit();
  // The same from inside a CharacterSink, where the device lock is held.
  void stop_soon();
  // Characters typed at the guest's serial console. Takes a prefix and returns its length: less than all
  // while the guest does not read.
  std::size_t console_input(std::span<const u8> characters);
  void press_power_button();
  // The terminal that shows the virtio console, if there is one, has this size.
  void resize_terminal(u16 columns, u16 rows);
  // How much memory the guest should give up; an error without a balloon.
  Result<void> set_balloon(u64 bytes);
  // Asks the guest's driver and waits a moment for its answer; not from a vCPU's thread.
  Result<BalloonReport> balloon_report();
  // After a saved state was loaded that another machine may continue as well: the guest learns that it is a
  // copy.
  void generation_changed();

  // pause() returns when every vCPU stands at an instruction boundary and stays there until resume(). Timers
  // stand still; other callbacks of the event loop go on. Calls nest. Not from a vCPU's thread or with the
  // device lock held.
  void pause() { vcpus_.pause(); }
  void resume() { vcpus_.resume(); }

  // Goes on with another engine. Not from a vCPU's thread or with the device lock held; one thread at a time.
  Result<void> switch_engine(Engine engine);
  Engine engine() const { return engine_; }
  // The engine that comes after the present one, of those that this machine can go on with; the present one
  // when there is no other.
  Engine next_engine() const;

  // The machine's state. Only while not running or paused. After a loader has failed, the machine is good for
  // nothing.
  void visit_state(StateVisitor& visitor, StateScope scope = StateScope::kAll);
  u64 state_hash();

  // The guest's parts, for those who make one up instead of booting it. Only while not running or paused.
  GuestMemory& memory() { return *memory_; }
  const x86::CpuidTable& cpuid() const { return cpuid_; }
  unsigned cpu_count() const { return vcpus_.count(); }
  Vcpu& vcpu(unsigned index = 0) { return *vcpus_.cpu(index).engine; }
  // Where back ends wait for the host; nullptr with the instruction clock, where nothing comes from outside.
  EventLoop* event_loop() { return loop_.get(); }

  // For a debugger; from any thread but a vCPU's.
  MachineDebugger& debugger() { return debugger_; }

  // Counters of all parts. Only while not running or paused.
  void add_metrics(MetricList& list);
  // Counters as lines of "name value".
  std::string statistics_text() const;
  // Where the guest's time went, with ObservationConfig::is_profiled.
  std::string profile_text() const { return observation_->profile_text(); }

 private:
  // What is decided before the parts are made.
  struct Basis {
    EnginePlan engines;
    std::unique_ptr<Inputs> inputs;
    std::unique_ptr<GuestMemory> memory;
    x86::CpuidTable cpuid;
    std::unique_ptr<EngineObservation> observation;
  };

  Machine(const MachineConfig& config, Basis basis, CharacterSink& console);
  Result<void> assemble();
  Result<void> load();
  AcpiConfig acpi_config() const;
  void request_stop(StopReason reason, int status) override;
  bool may_translate() const;
  void make_stub_factory();
  Result<void> make_vcpus();
  std::unique_ptr<EngineVcpu> make_vcpu(MachineCpu& cpu, u32 apic_id);
  Result<std::unique_ptr<TranslatedCode>> make_checked(std::unique_ptr<TranslatedCode> code, MachineCpu& cpu,
                                                       u32 apic_id);
  Result<void> make_event_loop();
  Result<void> check_engine(Engine engine) const;
  void pump_console();
  void visit_vcpus(StateVisitor& visitor);
  void tsc_offsets_loaded();
  void visit_typed(StateVisitor& visitor);
  std::vector<Component*> components();

  MachineConfig config_;
  CharacterSink& console_;
  std::unique_ptr<GuestMemory> memory_;
  x86::CpuidTable cpuid_;
  std::unique_ptr<Inputs> inputs_;
  InstructionInputs* instruction_inputs_ = nullptr;  // inputs_, in deterministic mode
  TimerQueue timers_;
  MachineBuses buses_;
  ApicBus apic_bus_;
  EnginePlan engines_;
  std::unique_ptr<kvm::KvmVm> kvm_;  // outlives the vCPUs
  std::unique_ptr<direct::StubFactory>
      stub_factory_;  // where the host allows direct execution; outlives the vCPUs
  std::shared_ptr<TranslationStore> translations_;  // null: none are kept
  std::unique_ptr<EngineObservation> observation_;
  std::atomic<Engine> engine_ = Engine::kInterp;
  VcpuSet vcpus_;
  MachineDebugger debugger_;
  std::vector<EngineVcpu*> engine_vcpus_;  // the engines in vcpus_
  IoApic io_apic_;
  PicPair pic_;
  IrqRouter router_;
  PciPlatform pci_;
  Hpet hpet_;
  Pit pit_;
  SystemControlPort system_control_;
  Rtc rtc_;
  std::vector<DeviceParts> devices_;
  std::unique_ptr<EventLoop> loop_;               // null with the instruction clock
  InputPoints input_points_{buses_.device_lock};  // used with the instruction clock
  std::unique_ptr<TimerAlarm> alarm_;
  std::unique_ptr<VirtioSlots> virtio_;
  ConsoleInput* console_input_ = nullptr;
  PowerButton* power_button_ = nullptr;
  GeneralEvents* general_events_ = nullptr;
  std::optional<VmGeneration> generation_;  // not in machines without an ACPI area
  std::vector<u8> typed_;                   // with the device lock: console input not yet taken by the device
};

}  // namespace doppel
