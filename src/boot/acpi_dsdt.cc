// Describes what no register reveals: fixed devices and how to reach S5.
#include "boot/acpi_dsdt.h"

#include <fmt/format.h>

#include "boot/aml.h"
#include "devices/port_map.h"

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

}  // namespace

std::vector<u8> build_dsdt_aml(unsigned cpu_count) {
  const aml::Term sleep_type = aml::integer(kSleepTypeS5);
  const aml::Term reserved = aml::integer(0);
  aml::Term bus = aml::join({
      fixed_device("TIMR", aml::eisa_id("PNP0100"), {io(kPitPorts), aml::isa_irq(kIrqPit)}),
      fixed_device("RTC0", aml::eisa_id("PNP0B00"), {io(kRtcPorts), aml::isa_irq(kIrqRtc)}),
      serial_port(),
      fixed_device("PEVT", aml::string("QEMU0001"), {io(kPanicPort)}),
  });
  for (unsigned i = 0; i < cpu_count; ++i) bus = aml::join({bus, processor(i)});
  return aml::join({
      // ACPI 6.5 7.4.2: values for PM1a and PM1b control, two reserved.
      aml::name("\\_S5_", aml::package({sleep_type, sleep_type, reserved, reserved})),
      aml::scope("\\_SB_", bus),
  });
}

}  // namespace doppel
