// Describes the host bridge to guests that have ACPI.
#include "boot/acpi_pci.h"

#include "boot/aml_resources.h"
#include "bus/pci_bus.h"
#include "devices/port_map.h"

namespace doppel {
namespace {

constexpr std::string_view kModelName = "PICF";

// ACPI 6.5 6.2.13: (address, pin, source, index); without a source the index is the interrupt's number.
aml::Term route(unsigned device, unsigned interrupt) {
  constexpr u64 kAnyFunction = 0xffff;
  return aml::package({aml::integer(u64{device} << 16 | kAnyFunction), aml::integer(0), aml::integer(0),
                       aml::integer(interrupt)});
}

// Functions have the pin INTA# only, and device 0 is the bridge itself.
aml::Term routes(bool uses_io_apic) {
  std::vector<aml::Term> entries;
  for (unsigned device = 1; device < PciBus::kDevices; ++device) {
    const unsigned legacy = PciResources::legacy_line_of(device) == 0 ? kIrqPciEven : kIrqPciOdd;
    const unsigned input = kFirstPciIoApicInput + PciResources::input_of(device);
    entries.push_back(route(device, uses_io_apic ? input : legacy));
  }
  return aml::package(entries);
}

aml::Term windows(const AcpiConfig& config) {
  constexpr u16 kConfigPorts = kPciConfigAddressPorts.base;
  constexpr u16 kAfterConfigPorts = kConfigPorts + kPciConfigAddressPorts.size + kPciConfigDataPorts.size;
  std::vector<aml::Term> resources = {
      aml::bus_numbers(0, 0),
      aml::io_ports(kConfigPorts, kPciConfigAddressPorts.size + kPciConfigDataPorts.size),
      aml::io_window(0, kConfigPorts),
      aml::io_window(kAfterConfigPorts, 0x10000 - kAfterConfigPorts),
      aml::memory_window32(u32{kPciMemory32Window}, u32{kPciMemory32WindowSize}),
  };
  if (config.pci_memory64_size != 0) {
    resources.push_back(aml::memory_window64(config.pci_memory64_base, config.pci_memory64_size));
  }
  return aml::resource_template(resources);
}

// PCI Firmware 3.2 4.5.1: the guest asks which features of PCI Express it may control, and gets none: there
// is no port that has any.
aml::Term feature_negotiation() {
  const aml::Term control = aml::reference("CDW3");
  return aml::method("_OSC", 4,
                     aml::join({aml::dword_field(aml::argument(3), 8, "CDW3"),
                                aml::store(aml::integer(0), control), aml::give(aml::argument(3))}));
}

}  // namespace

aml::Term interrupt_model() {
  return aml::join({aml::name(kModelName, aml::integer(0)),
                    aml::method("_PIC", 1, aml::store(aml::argument(0), aml::reference(kModelName)))});
}

aml::Term pci_host_bridge(const AcpiConfig& config) {
  const aml::Term routing =
      aml::join({aml::when(aml::reference(kModelName), aml::give(aml::reference("PRTA"))),
                 aml::give(aml::reference("PRTP"))});
  const aml::Term bridge = aml::join({
      aml::name("_HID", aml::eisa_id("PNP0A08")),
      aml::name("_CID", aml::eisa_id("PNP0A03")),
      aml::name("_UID", aml::integer(0)),
      aml::name("_SEG", aml::integer(0)),
      aml::name("_BBN", aml::integer(0)),
      aml::name("_CRS", windows(config)),
      aml::name("PRTA", routes(true)),
      aml::name("PRTP", routes(false)),
      aml::method("_PRT", 0, routing),
      feature_negotiation(),
  });
  // PCI Firmware 3.2 4.1.2: the memory of the MCFG table belongs to a motherboard device.
  const aml::Term board = aml::join(
      {aml::name("_HID", aml::eisa_id("PNP0C02")),
       aml::name("_CRS", aml::resource_template({aml::fixed_memory(u32{kEcamAddress}, u32{kEcamSize})}))});
  return aml::join({aml::device("PCI0", bridge), aml::device("MBRD", board)});
}

}  // namespace doppel
