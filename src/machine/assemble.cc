// Putting a machine together and loading its guest.
#include <sched.h>

#include <algorithm>

#include "base/log.h"
#include "boot/acpi_tables.h"
#include "devices/port_map.h"
#include "engine/direct/direct_code.h"
#include "engine/interp/interpreter.h"
#include "engine/jit/jit.h"
#include "engine/jit/translation_store.h"
#include "engine/kvm/kvm_vcpu.h"
#include "engine/lockstep/checked_code.h"
#include "machine/machine.h"

namespace doppel {
namespace {

std::unique_ptr<Inputs> make_inputs(ClockSource clock, u64 tsc_hz) {
  if (clock == ClockSource::kInstructions) return std::make_unique<InstructionInputs>();
  return std::make_unique<HostInputs>(tsc_hz);
}

// A translator's code memory: that of one vCPU, but the machine's together are bounded, too.
u64 code_memory_bytes(unsigned cpus) { return std::clamp(64 * kMiB / cpus, 8 * kMiB, 32 * kMiB); }

Result<void> check_host_cpus(const std::vector<unsigned>& host_cpus) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (host_cpus.empty() || ::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return {};
  for (const unsigned host_cpu : host_cpus) {
    if (host_cpu >= CPU_SETSIZE || !CPU_ISSET(host_cpu, &allowed)) {
      return fail_usage("--pin {}: this process may not run on host CPU {}", host_cpu, host_cpu);
    }
  }
  return {};
}

// Firmware sets the memory types of all CPUs alike. SDM 3A 11.11.8.
void copy_cache_setup(const CpuState& from, Vcpu& to) {
  CpuState state;
  to.save(state);
  state.mtrr = from.mtrr;
  state.pat = from.pat;
  state.misc_enable = from.misc_enable;
  to.load(state);
}

}  // namespace

Machine::Machine(const MachineConfig& config, Basis basis, CharacterSink& console)
    : config_(config),
      console_(console),
      memory_(std::move(basis.memory)),
      cpuid_(std::move(basis.cpuid)),
      inputs_(std::move(basis.inputs)),
      timers_(*inputs_),
      engines_(std::move(basis.engines)),
      observation_(std::move(basis.observation)),
      vcpus_(config.cpus, buses_, *memory_, timers_, apic_bus_, cpuid_),
      debugger_(vcpus_, buses_, *memory_),
      io_apic_(apic_bus_),
      pic_(vcpus_.cpu(0).platform.lapic().lint(0)),
      router_(pic_, io_apic_),
      pci_(buses_, apic_bus_, router_, pic_, *memory_),
      hpet_(timers_, {router_.isa(0), router_.isa(8), router_.isa(HpetComparator::kInput), pci_.messages()}),
      pit_(timers_, hpet_.pit_input()),
      system_control_(timers_, pit_),
      rtc_(timers_, hpet_.rtc_input(), {memory_->low_size(), memory_->high_size()}),
      devices_(
          make_devices({.timers = timers_,
                        .machine = *this,
                        .console = console,
                        .isa_irq = [this](unsigned index) -> InterruptLine& { return router_.isa(index); },
                        .pci_config_address = &pci_.host().address_ports()})) {
  if (config.clock == ClockSource::kInstructions) {
    instruction_inputs_ = static_cast<InstructionInputs*>(inputs_.get());
  }
}

Machine::~Machine() = default;

namespace {

Result<EnginePlan> plan_engines_of(const MachineConfig& config) {
  HostInputs inputs;
  return plan_engines(
      {.choice = config.engine,
       .is_switchable = config.is_switchable,
       .counts_instructions = config.clock == ClockSource::kInstructions || config.counts_instructions,
       .cpu_template = config.cpu_template},
      inputs);
}

// Who decodes code is one of CodeFrames::kMaxUsers: a vCPU, its reference, and what it may change to.
constexpr unsigned kMaxCheckedVcpus = 16;
static_assert(3 * kMaxCheckedVcpus <= CodeFrames::kMaxUsers);

// What memory holds must depend on the vCPU alone while it runs.
Result<void> check_checking(const MachineConfig& config, const EnginePlan& engines) {
  if (!config.checks_translator) return {};
  if (config.clock != ClockSource::kInstructions) {
    return fail_usage(
        "--check-engine interp: blocks can be done again only while nothing else runs: "
        "give --clock instructions, too");
  }
  if (engines.first != Engine::kJit) return fail_usage("--check-engine interp: give --engine jit, too");
  if (config.cpus > kMaxCheckedVcpus) {
    return fail_usage("--check-engine interp: give at most {} CPUs, as each needs a second interpreter",
                      kMaxCheckedVcpus);
  }
  const auto is_share = [](const DeviceOption& device) { return device.option == "--share"; };
  if (std::ranges::any_of(config.devices, is_share)) {
    return fail_usage("--check-engine interp: --share lets another process change the guest's memory");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config, CharacterSink& console) {
  std::unique_ptr<Machine> machine = TRY(create_empty(config, console));
  TRY_VOID(machine->load());
  return machine;
}

Result<std::unique_ptr<Machine>> Machine::create_empty(const MachineConfig& config, CharacterSink& console) {
  if (config.cpus == 0 || config.cpus > kMaxVcpus) {
    return fail_usage("--cpus {}: give a number from 1 to {}", config.cpus, kMaxVcpus);
  }
  TRY_VOID(check_host_cpus(config.host_cpus));
  EnginePlan engines = TRY(plan_engines_of(config));
  TRY_VOID(check_checking(config, engines));
  const x86::CpuidConfig cpuid_config{.cpu_count = config.cpus,
                                      .tsc_hz = engines.tsc_hz,
                                      .kvm_features = KvmParavirt::features() & ~engines.removed_kvm_features,
                                      .removed = engines.removed};
  x86::CpuidTable cpuid = TRY(x86::CpuidTable::create(config.cpu_template, cpuid_config));
  std::unique_ptr<GuestMemory> memory = TRY(GuestMemory::create(config.memory_bytes));
  std::unique_ptr<Inputs> inputs = make_inputs(config.clock, engines.tsc_hz);
  std::unique_ptr<EngineObservation> observation =
      TRY(EngineObservation::create(config.observation, config.cpus));
  Basis basis{std::move(engines), std::move(inputs), std::move(memory), std::move(cpuid),
              std::move(observation)};
  std::unique_ptr<Machine> machine(new Machine(config, std::move(basis), console));
  TRY_VOID(machine->assemble());
  return machine;
}

Result<void> Machine::assemble() {
  TRY_VOID(make_vcpus());
  TRY_VOID(make_event_loop());
  TRY_VOID(pic_.map(buses_.ports));
  TRY_VOID(buses_.ports.add(kPitPorts.base, kPitPorts.size, pit_, "pit"));
  TRY_VOID(buses_.ports.add(kPitSpeakerPort.base, kPitSpeakerPort.size, system_control_, "system control"));
  TRY_VOID(buses_.ports.add(kRtcPorts.base, kRtcPorts.size, rtc_, "rtc"));
  TRY_VOID(pci_.assemble());
  TRY_VOID(buses_.memory.add(kHpetAddress, kHpetSize, hpet_, "hpet"));
  TRY_VOID(buses_.memory.add(kIoApicAddress, kPageSize, io_apic_, "ioapic"));
  for (DeviceParts& device : devices_) {
    for (const MappedRange& range : device.ranges) {
      AddressMap& bus = range.bus == BusKind::kPort ? buses_.ports : buses_.memory;
      TRY_VOID(bus.add(range.base, range.size, *range.device, std::string(device.name)));
    }
    if (device.console_input != nullptr) console_input_ = device.console_input;
    if (device.power_button != nullptr) power_button_ = device.power_button;
    if (device.general_events != nullptr) general_events_ = device.general_events;
  }
  const VirtioEnvironment environment{
      .memory = *memory_,
      .timers = timers_,
      .loop = loop_.get(),
      .input_points = instruction_inputs_ != nullptr ? &input_points_ : nullptr,
      .terminal = &console_};
  virtio_ = std::make_unique<VirtioSlots>(environment, buses_, router_, pci_.bus());
  TRY_VOID(virtio_->add_all(config_.devices));
  const GuestPhys shared_pages = shared_pages_start(*memory_);
  if (memory_->is_ram(shared_pages, kSharedPagesSize)) {
    generation_.emplace(*memory_, *inputs_, shared_pages);
  }
  if (virtio_->console_input() != nullptr) console_input_ = virtio_->console_input();
  if (console_input_ != nullptr) console_input_->on_input_space([this] { pump_console(); });
  for (Component* component : components()) component->reset();
  vcpus_.cpu(0).platform.lapic().configure_virtual_wire();
  pci_.prepare();
  return {};
}

Result<std::unique_ptr<TranslatedCode>> Machine::make_checked(std::unique_ptr<TranslatedCode> code,
                                                              MachineCpu& cpu, u32 apic_id) {
  std::unique_ptr<InstructionReference> reference = TRY(create_interpreter_reference(
      {.memory = *memory_, .platform = cpu.platform, .cpuid = cpuid_, .apic_id = apic_id}));
  const auto on_mismatch = [this](const std::string& report) {
    LOG_ERROR("{}", report);
    const std::lock_guard lock(buses_.device_lock);
    vcpus_.stop({RunEnd::kMismatch, 0});
  };
  return check_translated_code(std::move(code), std::move(reference),
                               {.cpu = apic_id, .on_mismatch = on_mismatch});
}

std::unique_ptr<EngineVcpu> Machine::make_vcpu(MachineCpu& cpu, u32 apic_id) {
  EngineMaker interpreter = [this, &cpu, apic_id] {
    return create_interpreter(
        {.memory = *memory_, .platform = cpu.platform, .cpuid = cpuid_, .apic_id = apic_id});
  };
  EngineMaker jit = [this, &cpu, apic_id]() -> Result<std::unique_ptr<Vcpu>> {
    const bool counts = config_.clock == ClockSource::kInstructions || config_.counts_instructions;
    std::unique_ptr<TranslatedCode> translated =
        TRY(create_translator({.features = cpuid_.features(),
                               .cache_bytes = code_memory_bytes(config_.cpus),
                               .store = translations_,
                               .counts_instructions = counts,
                               .keeps_map = observation_->profiler() != nullptr,
                               .observers = observation_->translation_observers()}));
    if (stub_factory_) {
      translated =
          create_direct_code(std::move(translated), *stub_factory_, config_.direct == DirectUse::kAlways);
    }
    if (config_.checks_translator) translated = TRY(make_checked(std::move(translated), cpu, apic_id));
    return create_interpreter(
        {.memory = *memory_, .platform = cpu.platform, .cpuid = cpuid_, .apic_id = apic_id},
        std::move(translated));
  };
  EngineMaker kvm;
  if (kvm_) {
    kvm = [this, &cpu, apic_id] {
      return create_kvm_vcpu({.vm = *kvm_,
                              .platform = cpu.platform,
                              .returned = cpu.platform,
                              .cpuid = cpuid_,
                              .apic_id = apic_id});
    };
  }
  return std::make_unique<EngineVcpu>(*memory_,
                                      std::array{std::move(interpreter), std::move(jit), std::move(kvm)});
}

bool Machine::may_translate() const {
  return engines_.first == Engine::kJit || (config_.is_switchable && engines_.has_translator);
}

// Before the machine grows. A host that does not allow it is no error.
void Machine::make_stub_factory() {
  const bool counts = config_.clock == ClockSource::kInstructions || config_.counts_instructions;
  // The profiler sees translated code only.
  const bool is_profiled = observation_->profiler() != nullptr;
  if (!may_translate() || counts || is_profiled || config_.direct == DirectUse::kOff) return;
  Result<std::unique_ptr<direct::StubFactory>> factory = direct::StubFactory::create(*memory_);
  if (factory) {
    stub_factory_ = std::move(*factory);
  } else {
    LOG_INFO("{}; user code is translated", factory.error().message);
  }
}

// All but the boot CPU wait for a start-up message. SDM 3A 8.4.
Result<void> Machine::make_vcpus() {
  if (engines_.kvm) kvm_ = TRY(kvm::KvmVm::create(std::move(*engines_.kvm), *memory_, engines_.tsc_hz));
  engine_ = engines_.first;
  make_stub_factory();
  if (!config_.translation_cache.empty() && may_translate()) {
    translations_ = TRY(TranslationStore::open(config_.translation_cache));
  }
  for (unsigned i = 0; i < vcpus_.count(); ++i) {
    MachineCpu& cpu = vcpus_.cpu(i);
    std::unique_ptr<EngineVcpu> vcpu = make_vcpu(cpu, i);
    TRY_VOID(vcpu->switch_to(engine_));
    engine_vcpus_.push_back(vcpu.get());
    cpu.engine = std::move(vcpu);
    cpu.platform.set_vcpu(cpu.engine.get());
    cpu.platform.lapic().set_external_source(&pic_);
    if (i == 0) continue;
    CpuState state;
    reset_cpu_state(state, cpuid_.query(1, 0, {}).eax, false);
    state.activity = Activity::kWaitForSipi;
    cpu.engine->load(state);
  }
  vcpus_.set_before_slice([this] { pump_console(); });
  vcpus_.set_host_cpus(config_.host_cpus);
  vcpus_.set_profiler(observation_->profiler());
  if (instruction_inputs_ != nullptr) {
    instruction_inputs_->set_counter([this] { return vcpus_.instructions_retired(); });
    vcpus_.set_input_points(&input_points_);
    input_points_.set_on_diverged([this] { vcpus_.stop({RunEnd::kDiverged, 0}); });
  }
  return {};
}

Result<void> Machine::make_event_loop() {
  if (config_.clock == ClockSource::kInstructions) return {};
  loop_ = TRY(EventLoop::create(buses_.device_lock));
  alarm_ = TRY(TimerAlarm::create(*loop_, [this] { vcpus_.update_alarm(); }, [this] { vcpus_.run_due(); }));
  vcpus_.set_alarm(alarm_.get());
  vcpus_.set_event_loop(loop_.get());
  return {};
}

AcpiConfig Machine::acpi_config() const {
  AcpiConfig config;
  config.cpu_count = config_.cpus;
  config.pci_memory64_base = pci_.memory64_window().base;
  config.pci_memory64_size = pci_.memory64_window().size;
  if (generation_) {
    config.generation_page = generation_->identifier_page().value();
    config.clock_page = generation_->clock_page().value();
  }
  for (const MmioPlace& place : virtio_->mmio_places()) {
    config.virtio_mmio.push_back(
        {.address = place.address, .size = VirtioMmio::kSize, .interrupt = place.interrupt});
  }
  return config;
}

Result<void> Machine::load() {
  BootTables tables{.rsdp = GuestPhys(0), .e820 = build_e820(*memory_)};
  const GuestPhys acpi = acpi_area_start(*memory_);
  if (acpi.value() < memory_->low_size()) {
    tables.rsdp = TRY(install_acpi_tables(*memory_, acpi, acpi_config()));
    if (generation_) generation_->install();
  }
  const CpuState start = TRY(load_guest(*memory_, config_.boot, tables));
  vcpus_.cpu(0).engine->load(start);
  for (unsigned i = 1; i < vcpus_.count(); ++i) copy_cache_setup(start, *vcpus_.cpu(i).engine);
  return {};
}

}  // namespace doppel
