// AcpiPm: the ACPI fixed hardware: power management registers, PM timer, power button and SCI.
#pragma once

#include <array>

#include "bus/bus_device.h"
#include "devices/acpi_pm_timer.h"
#include "devices/general_events.h"
#include "devices/machine_control.h"
#include "devices/port_map.h"
#include "devices/power_button.h"

namespace doppel {

// The register blocks of ACPI 6.5 chapter 4.8 that the FADT announces, and the SMI command port through which
// the guest takes over from firmware that is not there. Of the sleep states only S5 exists. Owned by the
// registry's DeviceParts; called with the device lock held.
class AcpiPm final : public Component, public BusDevice, public PowerButton, public GeneralEvents {
 public:
  // Offsets at or above this one are the SMI command ports, below it the ports from kAcpiPmPorts.base.
  static constexpr u64 kSmiCommandOffset = kAcpiPmPorts.size;

  AcpiPm(TimerQueue& timers, InterruptLine& sci, MachineControl& machine);

  std::string_view name() const override { return "acpi_pm"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

  void press_power_button() override;
  void raise_general_event(unsigned index) override;

 private:
  u8 read_byte(u64 offset);
  void write_byte(u64 offset, u8 value);
  u16 event_status();
  void clear_event_status(u16 mask);
  void set_event_enable(u16 value);
  void set_control_low(u8 value);
  void set_control_high(u8 value);
  void write_smi_command(u8 value);
  void update_sci();

  InterruptLine& sci_;
  MachineControl& machine_;
  AcpiPmTimer timer_;

  u16 latched_status_ = 0;  // PM1 status without the timer's bit
  u16 event_enable_ = 0;
  u16 control_ = 0;
  u16 gpe_status_ = 0;
  u16 gpe_enable_ = 0;
  std::array<u8, 2> smi_ports_{};  // command and status, as last written
};

}  // namespace doppel
