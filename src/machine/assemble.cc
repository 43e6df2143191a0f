// Putting a machine together and loading its guest.
#include "boot/acpi_tables.h"
#include "devices/port_map.h"
#include "engine/interp/interpreter.h"
#include "machine/machine.h"

namespace doppel {
namespace {

std::unique_ptr<Inputs> make_inputs(ClockSource clock) {
  if (clock == ClockSource::kInstructions) return std::make_unique<InstructionInputs>();
  return std::make_unique<HostInputs>();
}

}  // namespace

Machine::Machine(const MachineConfig& config, std::unique_ptr<GuestMemory> memory, x86::CpuidTable cpuid,
                 CharacterSink& console)
    : config_(config),
      console_(console),
      memory_(std::move(memory)),
      cpuid_(std::move(cpuid)),
      inputs_(make_inputs(config.clock)),
      timers_(*inputs_),
      platform_(0, buses_, *memory_, timers_, apic_bus_),
      io_apic_(apic_bus_),
      pic_(platform_.lapic().lint(0)),
      router_(pic_, io_apic_),
      pci_(buses_, apic_bus_, router_, pic_, *memory_),
      hpet_(timers_, {router_.isa(0), router_.isa(8), router_.isa(14), router_.isa(15), pci_.messages()}),
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

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config, CharacterSink& console) {
  std::unique_ptr<Machine> machine = TRY(create_empty(config, console));
  TRY_VOID(machine->load());
  return machine;
}

Result<std::unique_ptr<Machine>> Machine::create_empty(const MachineConfig& config, CharacterSink& console) {
  if (config.cpus != 1) return fail_usage("--cpus {}: this engine runs one CPU", config.cpus);
  const x86::CpuidConfig cpuid_config{.cpu_count = config.cpus, .kvm_features = KvmParavirt::features()};
  x86::CpuidTable cpuid = TRY(x86::CpuidTable::create(config.cpu_template, cpuid_config));
  std::unique_ptr<GuestMemory> memory = TRY(GuestMemory::create(config.memory_bytes));
  std::unique_ptr<Machine> machine(new Machine(config, std::move(memory), std::move(cpuid), console));
  TRY_VOID(machine->assemble());
  return machine;
}

Result<void> Machine::assemble() {
  vcpu_ = TRY(create_interpreter({.memory = *memory_, .platform = platform_, .cpuid = cpuid_}));
  platform_.set_vcpu(vcpu_.get());
  platform_.set_after_access([this] { kick_if_due(); });
  if (instruction_inputs_ != nullptr) {
    instruction_inputs_->set_counter([this] { return vcpu_->instructions_retired(); });
  }
  platform_.lapic().set_external_source(&pic_);
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
  }
  if (instruction_inputs_ == nullptr) loop_ = TRY(EventLoop::create(buses_.device_lock));
  const VirtioEnvironment environment{
      .memory = *memory_, .timers = timers_, .loop = loop_.get(), .terminal = &console_};
  virtio_ = std::make_unique<VirtioSlots>(environment, buses_, router_, pci_.bus());
  for (const DeviceOption& device : config_.devices) TRY_VOID(virtio_->add(device));
  if (virtio_->console_input() != nullptr) console_input_ = virtio_->console_input();
  if (console_input_ != nullptr) console_input_->on_input_space([this] { pump_console(); });
  for (Component* component : components()) component->reset();
  platform_.lapic().configure_virtual_wire();
  pci_.prepare();
  return {};
}

AcpiConfig Machine::acpi_config() const {
  AcpiConfig config;
  config.cpu_count = config_.cpus;
  config.pci_memory64_base = pci_.memory64_window().base;
  config.pci_memory64_size = pci_.memory64_window().size;
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
  }
  const CpuState start = TRY(load_guest(*memory_, config_.boot, tables));
  vcpu_->load(start);
  return {};
}

}  // namespace doppel
