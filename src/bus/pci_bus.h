// PciBus: the functions of bus 0, their addresses in the machine's buses and their interrupt wiring.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "bus/address_map.h"
#include "bus/pci_function.h"

namespace doppel {

// Addresses that BARs are assigned from: [base, base + size).
struct PciWindow {
  u64 base = 0;
  u64 size = 0;
};

// What the machine sets aside for PCI. Interrupt pins are swizzled over the inputs, and every input is wired
// to one of the legacy lines too, for guests that use no I/O APIC.
struct PciResources {
  static constexpr unsigned kInputs = 8;
  static constexpr unsigned kLegacyLines = 2;

  PciWindow io;
  PciWindow memory32;  // below 4 GiB
  PciWindow memory64;  // above RAM
  std::array<InterruptLine*, kInputs> inputs = {};
  std::array<InterruptLine*, kLegacyLines> legacy_lines = {};
  std::array<u8, kLegacyLines> legacy_irqs = {};  // what the interrupt line registers say

  // Where INTA# of a device leads. The DSDT's _PRT is built with the same rule.
  static constexpr unsigned input_of(unsigned device) { return device % kInputs; }
  static constexpr unsigned legacy_line_of(unsigned device) { return input_of(device) % kLegacyLines; }
};

// Bus 0 behind the host bridge: 32 devices of 8 functions, no bridges below. There is no firmware, so plug()
// does its part: it gives BARs their addresses, switches decoding on and fills the interrupt line register;
// bus mastering stays off. A guest may move everything. BARs are mapped in the order of device, function and
// register; one that overlaps a fixed device or an earlier BAR answers nowhere until it is moved, and RAM
// wins over every BAR. Owned by the machine, as the functions' devices are; it outlives none of its guests'
// accesses. No state of its own. Called with the device lock held.
class PciBus {
 public:
  static constexpr unsigned kDevices = 32;
  static constexpr unsigned kFunctions = 8;
  // BARs larger than this are put into the window above RAM if they have 64 bits.
  static constexpr u64 kLargestLowBar = 16 * kMiB;

  PciBus(AddressMap& ports, AddressMap& memory, MsiSink& messages, const PciResources& resources);

  const PciResources& resources() const { return resources_; }

  // Fails when the slot is taken or no address is left. Function 0 of a device is plugged in first.
  Result<void> plug(PciFunction& function, unsigned device, unsigned number = 0);
  // Into the first free device; returns its number.
  Result<unsigned> plug(PciFunction& function);

  // Nobody answers for functions that do not exist: ones. `data` is 1 to 8 bytes that do not leave the
  // function's 4 KiB.
  void read_config(unsigned bus, unsigned device_function, u64 offset, std::span<u8> data);
  void write_config(unsigned bus, unsigned device_function, u64 offset, std::span<const u8> data);

 private:
  static constexpr unsigned kSlots = kDevices * kFunctions;

  // A function in its place, and its end of the interrupt wire.
  struct Slot final : InterruptLine {
    void set_level(bool is_high) override;
    PciBus* bus = nullptr;
    PciFunction* function = nullptr;
    unsigned device = 0;
    std::string label;  // for statistics: "name device.function"
    bool is_asserted = false;
  };
  struct Mapping {
    AddressMap* map;
    u64 base;
  };

  PciFunction* find(unsigned bus, unsigned device_function) const;
  Result<void> assign_addresses(PciFunction& function);
  Result<u64> allocate(const PciBar& bar);
  void map_bars();
  void map_bar(const Slot& slot, unsigned index);
  void input_changed(unsigned device, bool is_high);

  AddressMap& ports_;
  AddressMap& memory_;
  MsiSink& messages_;
  PciResources resources_;
  std::array<u64, 3> next_free_;  // in the I/O, 32-bit and 64-bit window
  std::array<std::unique_ptr<Slot>, kSlots> slots_;
  std::array<unsigned, PciResources::kInputs> asserted_ = {};  // functions that assert each input
  std::vector<Mapping> mappings_;
};

}  // namespace doppel
