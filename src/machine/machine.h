// Machine: one virtual machine, assembled from its parts and run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <string>
#include <vector>

#include "base/host_inputs.h"
#include "base/instruction_inputs.h"
#include "base/timer_queue.h"
#include "boot/acpi_config.h"
#include "boot/load_guest.h"
#include "devices/registry.h"
#include "irq/apic_bus.h"
#include "irq/hpet.h"
#include "irq/io_apic.h"
#include "irq/irq_router.h"
#include "irq/pic.h"
#include "irq/pit.h"
#include "irq/rtc.h"
#include "machine/pci_platform.h"
#include "machine/vcpu_platform.h"
#include "machine/virtio_slots.h"
#include "x86/cpuid.h"

namespace doppel {

enum class ClockSource : u8 {
  kHost,          // the host's monotonic clock
  kInstructions,  // one nanosecond an instruction: the same run every time
};

struct MachineConfig {
  BootConfig boot;
  u64 memory_bytes = 512 * kMiB;
  unsigned cpus = 1;
  std::string cpu_template = "x86-64-v3";  // a name of CpuidTable
  ClockSource clock = ClockSource::kHost;
  std::vector<DeviceOption> devices;  // in the order in which they are plugged in
};

// Why run() came back.
enum class RunEnd : u8 {
  kPowerOff,
  kReset,
  kGuestPanic,
  kDebugExit,
  kTripleFault,
  kInstructionLimit,
  kQuit,
  kHalted,  // with WhenHalted::kReturn, or when the clock counts instructions and no timer could end the halt
};

struct RunResult {
  RunEnd end = RunEnd::kQuit;
  int debug_exit_status = 0;  // with kDebugExit
};

// What run() does when the vCPU halts: wait for an event, or end with kHalted once time moved to the next
// timer.
enum class WhenHalted : u8 { kWait, kReturn };

enum class StateScope : u8 { kAll, kRegisters };  // with RAM, or without

// Owns every part. create() assembles and loads the guest; run() executes on the calling thread until the
// machine stops. request_quit() and console_input() may be called from other threads.
class Machine final : private MachineControl {
 public:
  // `console` gets what the guest's serial port sends, with the device lock held.
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config, CharacterSink& console);
  // The same without a guest (`config.boot` is not used): the caller loads a state, through visit_state() or
  // into memory() and vcpu().
  static Result<std::unique_ptr<Machine>> create_empty(const MachineConfig& config, CharacterSink& console);
  ~Machine() override;

  // At most `max_instructions` more.
  RunResult run(u64 max_instructions, WhenHalted when_halted = WhenHalted::kWait);

  void request_quit();
  // The same from inside a CharacterSink, where the device lock is held.
  void stop_soon();
  // Characters typed at the guest's serial console. Takes a prefix and returns its length: less than all
  // while the guest does not read.
  std::size_t console_input(std::span<const u8> characters);
  void press_power_button();

  // The machine's state. Only while not running. After a loader has failed, the machine is good for nothing.
  void visit_state(StateVisitor& visitor, StateScope scope = StateScope::kAll);
  u64 state_hash();

  // The guest's parts, for those who make one up instead of booting it. Only while not running.
  GuestMemory& memory() { return *memory_; }
  const x86::CpuidTable& cpuid() const { return cpuid_; }
  Vcpu& vcpu() { return *vcpu_; }

  // Counters as lines of "name value".
  std::string statistics_text() const;

 private:
  Machine(const MachineConfig& config, std::unique_ptr<GuestMemory> memory, x86::CpuidTable cpuid,
          CharacterSink& console);
  Result<void> assemble();
  Result<void> load();
  RunResult run_vcpu(u64 max_instructions, WhenHalted when_halted);
  AcpiConfig acpi_config() const;
  void request_stop(StopReason reason, int status) override;
  void kick_if_due();
  bool wait_until_due();
  bool is_anything_due();
  void pump_console();
  void visit_typed(StateVisitor& visitor);
  RunLimit next_limit(u64 last_instruction);
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
  VcpuPlatform platform_;
  IoApic io_apic_;
  PicPair pic_;
  IrqRouter router_;
  PciPlatform pci_;
  Hpet hpet_;
  Pit pit_;
  SystemControlPort system_control_;
  Rtc rtc_;
  std::vector<DeviceParts> devices_;
  std::unique_ptr<EventLoop> loop_;  // null with the instruction clock
  std::unique_ptr<VirtioSlots> virtio_;
  std::unique_ptr<Vcpu> vcpu_;
  ConsoleInput* console_input_ = nullptr;
  PowerButton* power_button_ = nullptr;

  std::condition_variable wake_;  // with buses_.device_lock: something a halted vCPU waits for happened
  std::vector<u8> typed_;         // console input not yet taken by the device
  std::atomic<bool> quits_ = false;
  bool is_stopped_ = false;
  bool is_woken_ = false;
  RunResult stop_;
  Nanoseconds slice_end_{0};  // machine time up to which the vCPU runs without looking at the timers
};

}  // namespace doppel
