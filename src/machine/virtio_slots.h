// VirtioSlots: the virtio devices of one machine, each plugged in behind PCI or MMIO.
#pragma once

#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bus/pci_bus.h"
#include "devices/virtio_registry.h"
#include "irq/irq_router.h"
#include "machine/vcpu_platform.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

namespace doppel {

// One device that the user asked for: the row's option and its value.
struct DeviceOption {
  std::string option;
  std::string value;
};

// Where the guest finds a device behind MMIO.
struct MmioPlace {
  u64 address;
  u8 interrupt;  // ISA interrupt, level, active high
};

// Makes devices from their rows and plugs them in. MMIO devices have the addresses and interrupts of
// devices/port_map.h; devices that share an interrupt assert it together. Owned by the machine, which adds
// all devices before anything runs.
class VirtioSlots {
 public:
  VirtioSlots(const VirtioEnvironment& environment, MachineBuses& buses, IrqRouter& router, PciBus& pci);

  // Once, with everything the user asked for, in order.
  Result<void> add_all(std::span<const DeviceOption> options);

  // The transports, which own their devices.
  std::vector<Component*> components() const;
  std::span<const MmioPlace> mmio_places() const { return mmio_places_; }
  // Null when no device of that kind was added; the last one that was.
  ConsoleInput* console_input() const { return console_input_; }
  VirtioBalloon* balloon() const { return balloon_; }
  VirtioConsole* terminal_console() const { return terminal_console_; }
  // Counters of all devices as lines of "device_counter value"; the device's name has its number behind it.
  std::string statistics_text() const;

 private:
  // An interrupt that several MMIO devices may assert.
  struct SharedLine {
    InterruptLine* line = nullptr;
    unsigned asserted = 0;
  };
  struct MmioLine final : InterruptLine {
    explicit MmioLine(SharedLine& shared) : shared(shared) {}
    void set_level(bool is_high) override;
    SharedLine& shared;
    bool is_asserted = false;
  };

  Result<void> add(MadeVirtioDevice made);
  Result<void> check_id(const std::string& id);
  Result<void> plug_mmio(MadeVirtioDevice made, const VirtioOptions& options);
  Result<void> plug_pci(MadeVirtioDevice made, const VirtioOptions& options);

  VirtioEnvironment environment_;
  MachineBuses& buses_;
  IrqRouter& router_;
  PciBus& pci_;
  std::set<std::string> ids_;
  std::vector<SharedLine> shared_lines_;
  std::vector<std::unique_ptr<MmioLine>> mmio_lines_;
  std::vector<std::unique_ptr<Component>> transports_;
  std::vector<const VirtioDevice*> devices_;  // in order of the options; the transports own them
  std::vector<MmioPlace> mmio_places_;
  ConsoleInput* console_input_ = nullptr;
  VirtioBalloon* balloon_ = nullptr;
  VirtioConsole* terminal_console_ = nullptr;
};

}  // namespace doppel
