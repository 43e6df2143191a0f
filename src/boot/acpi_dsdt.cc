// Describes what no register reveals: fixed devices and how to reach S5.
#include "boot/acpi_dsdt.h"

#include <fmt/format.h>

#include "boot/acpi_pci.h"
#include "boot/aml_resources.h"
#include "devices/port_map.h"
#include "memory/address.h"

namespace doppel {

namespace {

aml::Term io(PortRange ports) { return aml::io_ports(ports.base, static_cast<u8>(ports.size)); }

// A device that an identifier and its resources describe completely.
aml::Term fixed_device(std::string_view segment, const aml::Term& id, aml::Terms resources) {
  return aml::device(
      segment, aml::join({aml::name("_HID", id), aml::name("_CRS", aml::resource_template(resources))}));
}

aml::Term serial_port() {
  return aml::device(
      "COM1",
      aml::join({aml::name("_HID", aml::eisa_id("PNP0501")), aml::name("_UID", aml::integer(1)),
                 aml::name("_CRS", aml::resource_template({io(kCom1Ports), aml::isa_irq(kIrqCom1)}))}));
}

// The _UID is the processor UID of the MADT. ACPI 6.5 8.4.
aml::Term processor(unsigned index) {
  return aml::device(fmt::format("C{:03X}", index), aml::join({aml::name("_HID", aml::string("ACPI0007")),
                                                               aml::name("_UID", aml::integer(index))}));
}

// IA-PC HPET 1.0a 3.2.5: the HPET table says more; the device reserves the registers.
aml::Term hpet() {
  return fixed_device("HPET", aml::eisa_id("PNP0103"),
                      {aml::fixed_memory(u32{kHpetAddress}, u32{kHpetSize})});
}

// What Linux looks for, by virtio 1.2 4.2.
aml::Term virtio_mmio(unsigned index, const VirtioMmioSlot& slot) {
  const aml::Term resources =
      aml::resource_template({aml::fixed_memory(static_cast<u32>(slot.address), static_cast<u32>(slot.size)),
                              aml::io_apic_input(slot.interrupt)});
  return aml::device(fmt::format("V{:03X}", index),
                     aml::join({aml::name("_HID", aml::string("LNRO0005")),
                                aml::name("_UID", aml::integer(index)), aml::name("_CRS", resources)}));
}

// Microsoft, "Virtual Machine Generation ID", 2012: ADDR gives the identifier's address in two halves.
aml::Term generation_device(u64 page) {
  return aml::device(
      "VGEN",
      aml::join(
          {aml::name("_HID", aml::string("DPPL0001")), aml::name("_CID", aml::string("VM_Gen_Counter")),
           aml::name("_DDN", aml::string("VM_Gen_Counter")),
           aml::name("ADDR", aml::package({aml::integer(page & 0xffffffff), aml::integer(page >> 32)}))}));
}

aml::Term clock_device(u64 page) {
  return aml::device("VCLK", aml::join({aml::name("_HID", aml::string("AMZNC10C")),
                                        aml::name("_CID", aml::string("VMCLOCK")),
                                        aml::name("_CRS", aml::resource_template({aml::fixed_memory(
                                                              static_cast<u32>(page), u32{kPageSize})}))}));
}

// General-purpose events that mean "look again" to a device. ACPI 6.5 5.6.4.1: _Exx are edges.
aml::Term change_event(u8 event, std::string_view device) {
  constexpr u8 kDeviceSpecific = 0x80;
  return aml::method(fmt::format("_E{:02X}", event), 0, aml::notify(aml::reference(device), kDeviceSpecific));
}

}  // namespace

std::vector<u8> build_dsdt_aml(const AcpiConfig& config) {
  const aml::Term sleep_type = aml::integer(kSleepTypeS5);
  const aml::Term reserved = aml::integer(0);
  aml::Term bus = aml::join({
      pci_host_bridge(config),
      fixed_device("TIMR", aml::eisa_id("PNP0100"), {io(kPitPorts), aml::isa_irq(kIrqPit)}),
      fixed_device("RTC0", aml::eisa_id("PNP0B00"), {io(kRtcPorts), aml::isa_irq(kIrqRtc)}),
      serial_port(),
      fixed_device("PEVT", aml::string("QEMU0001"), {io(kPanicPort)}),
  });
  const auto add = [](aml::Term& scope, const aml::Term& term) { scope = aml::join({scope, term}); };
  aml::Term events;
  if (config.has_hpet) add(bus, hpet());
  if (config.generation_page != 0) {
    add(bus, generation_device(config.generation_page));
    add(events, change_event(kGpeGeneration, "\\_SB_.VGEN"));
  }
  if (config.clock_page != 0) {
    add(bus, clock_device(config.clock_page));
    add(events, change_event(kGpeClock, "\\_SB_.VCLK"));
  }
  for (unsigned i = 0; i < config.virtio_mmio.size(); ++i) add(bus, virtio_mmio(i, config.virtio_mmio[i]));
  for (unsigned i = 0; i < config.cpu_count; ++i) add(bus, processor(i));
  return aml::join({
      // ACPI 6.5 7.4.2: values for PM1a and PM1b control, two reserved.
      aml::name("\\_S5_", aml::package({sleep_type, sleep_type, reserved, reserved})),
      interrupt_model(),
      aml::scope("\\_SB_", bus),
      aml::scope("\\_GPE", events),
  });
}

}  // namespace doppel
