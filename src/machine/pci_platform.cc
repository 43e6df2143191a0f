// Addresses and interrupts of the PCI bus.
#include "machine/pci_platform.h"

#include <array>

#include "devices/port_map.h"

namespace doppel {
namespace {

u64 end_of_ram(const GuestMemory& memory) {
  if (memory.high_size() == 0) return GuestMemory::kHighRamStart;
  return GuestMemory::kHighRamStart + memory.high_size();
}

PciResources pci_resources(IrqRouter& router, PicPair& pic, const GuestMemory& memory) {
  PciResources resources;
  resources.io = {kPciIoWindow.base, kPciIoWindow.size};
  resources.memory32 = {kPciMemory32Window, kPciMemory32WindowSize};
  resources.memory64 = {pci_memory64_window(end_of_ram(memory)), kPciMemory64WindowSize};
  for (unsigned i = 0; i < PciResources::kInputs; ++i) {
    resources.inputs[i] = &router.isa(kFirstPciIoApicInput + i);
  }
  resources.legacy_lines = {&pic.line(kIrqPciEven), &pic.line(kIrqPciOdd)};
  resources.legacy_irqs = {kIrqPciEven, kIrqPciOdd};
  return resources;
}

}  // namespace

PciPlatform::PciPlatform(MachineBuses& buses, ApicBus& apic_bus, IrqRouter& router, PicPair& pic,
                         const GuestMemory& memory)
    : buses_(buses),
      pic_(pic),
      messages_(apic_bus),
      bus_(buses.ports, buses.memory, messages_, pci_resources(router, pic, memory)),
      host_(bus_) {}

Result<void> PciPlatform::assemble() {
  TRY_VOID(
      buses_.ports.add(kPciConfigDataPorts.base, kPciConfigDataPorts.size, host_.data_ports(), "pci host"));
  TRY_VOID(buses_.memory.add(kEcamAddress, kEcamSize, host_.ecam(), "pci ecam"));
  return host_.plug();
}

void PciPlatform::prepare() {
  constexpr u16 kLevels = 1 << kIrqPciEven | 1 << kIrqPciOdd;
  constexpr std::array<u8, 2> kElcr = {kLevels & 0xff, kLevels >> 8};
  pic_.elcr_ports().write(0, kElcr);
}

}  // namespace doppel
