// Registers of the ACPI fixed hardware, byte by byte, and the system control interrupt.
#include "devices/acpi_pm.h"

#include "base/log.h"
#include "base/verify.h"

namespace doppel {

namespace {

// ACPI 6.5 4.8.3.1: PM1 status and enable bits; status bits clear when written with ones.
constexpr u16 kEventTimer = 1 << 0;
constexpr u16 kEventGlobal = 1 << 5;
constexpr u16 kEventPowerButton = 1 << 8;
// Never raised, as the FADT says (FIX_RTC), but guests set the enable and look whether it stays.
constexpr u16 kEventRtc = 1 << 10;
constexpr u16 kEventMask = kEventTimer | kEventGlobal | kEventPowerButton | kEventRtc;

// ACPI 6.5 4.8.3.2: PM1 control bits.
constexpr u16 kControlSciEnable = 1 << 0;
constexpr u16 kControlBusMasterReload = 1 << 1;
constexpr u16 kControlSleepType = 7 << 10;
constexpr u16 kControlSleepEnable = 1 << 13;  // reads as 0
constexpr unsigned kSleepTypeShift = 10;

constexpr u64 offset_of(PortRange block) { return block.base - kAcpiPmPorts.base; }
constexpr u64 kEventBlock = offset_of(kPm1EventPorts);
constexpr u64 kControlBlock = offset_of(kPm1ControlPorts);
constexpr u64 kTimerBlock = offset_of(kPmTimerPorts);
constexpr u64 kGpeBlock = offset_of(kGpe0Ports);

constexpr u8 byte_of(u64 value, u64 index) { return static_cast<u8>(value >> (8 * index)); }
constexpr u16 with_byte(u16 value, u64 index, u8 byte) {
  return static_cast<u16>((value & ~(0xff << (8 * index))) | (byte << (8 * index)));
}

}  // namespace

AcpiPm::AcpiPm(TimerQueue& timers, InterruptLine& sci, MachineControl& machine)
    : sci_(sci), machine_(machine), timer_(timers, [this] { update_sci(); }) {
  reset();
}

void AcpiPm::reset() {
  timer_.reset();
  latched_status_ = event_enable_ = control_ = 0;
  gpe_status_ = gpe_enable_ = 0;
  smi_ports_ = {};
  update_sci();
}

void AcpiPm::read(u64 offset, std::span<u8> data) {
  if (offset == kTimerBlock && data.size() == kPmTimerPorts.size) return store_le(data, timer_.count());
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = read_byte(offset + i);
}

void AcpiPm::write(u64 offset, std::span<const u8> data) {
  for (std::size_t i = 0; i < data.size(); ++i) write_byte(offset + i, data[i]);
}

u8 AcpiPm::read_byte(u64 offset) {
  switch (offset) {
    case kEventBlock:
    case kEventBlock + 1:
      return byte_of(event_status(), offset - kEventBlock);
    case kEventBlock + 2:
    case kEventBlock + 3:
      return byte_of(event_enable_, offset - kEventBlock - 2);
    case kControlBlock:
    case kControlBlock + 1:
      return byte_of(control_, offset - kControlBlock);
    case kTimerBlock:
    case kTimerBlock + 1:
    case kTimerBlock + 2:
    case kTimerBlock + 3:
      return byte_of(timer_.count(), offset - kTimerBlock);
    case kGpeBlock:
    case kGpeBlock + 1:
      return byte_of(gpe_status_, offset - kGpeBlock);
    case kGpeBlock + 2:
    case kGpeBlock + 3:
      return byte_of(gpe_enable_, offset - kGpeBlock - 2);
    case kSmiCommandOffset:
    case kSmiCommandOffset + 1:
      return smi_ports_[offset - kSmiCommandOffset];
    default:
      return 0;
  }
}

void AcpiPm::write_byte(u64 offset, u8 value) {
  switch (offset) {
    case kEventBlock:
    case kEventBlock + 1:
      return clear_event_status(static_cast<u16>(value << (8 * (offset - kEventBlock))));
    case kEventBlock + 2:
    case kEventBlock + 3:
      return set_event_enable(with_byte(event_enable_, offset - kEventBlock - 2, value));
    case kControlBlock:
      return set_control_low(value);
    case kControlBlock + 1:
      return set_control_high(value);
    case kGpeBlock:
    case kGpeBlock + 1:
      gpe_status_ &= static_cast<u16>(~(value << (8 * (offset - kGpeBlock))));
      return update_sci();
    case kGpeBlock + 2:
    case kGpeBlock + 3:
      gpe_enable_ = with_byte(gpe_enable_, offset - kGpeBlock - 2, value);
      return update_sci();
    case kSmiCommandOffset:
      return write_smi_command(value);
    case kSmiCommandOffset + 1:
      smi_ports_[1] = value;
      return;
    default:
      LOG_GUEST("acpi: write {:#x} to read-only offset {:#x}", value, offset);
  }
}

u16 AcpiPm::event_status() { return latched_status_ | (timer_.has_carried() ? kEventTimer : 0); }

void AcpiPm::clear_event_status(u16 mask) {
  latched_status_ &= static_cast<u16>(~mask);
  if ((mask & kEventTimer) != 0) timer_.clear_carry();
  update_sci();
}

void AcpiPm::set_event_enable(u16 value) {
  event_enable_ = value & kEventMask;
  timer_.watch((event_enable_ & kEventTimer) != 0);
  update_sci();
}

// SCI_EN is firmware's to change (through the SMI command port); writes leave it alone. ACPI 6.5 4.8.3.2.1.
void AcpiPm::set_control_low(u8 value) {
  control_ = static_cast<u16>((control_ & ~kControlBusMasterReload) | (value & kControlBusMasterReload));
}

void AcpiPm::set_control_high(u8 value) {
  const u16 bits = static_cast<u16>(value << 8);
  control_ = static_cast<u16>((control_ & ~kControlSleepType) | (bits & kControlSleepType));
  if ((bits & kControlSleepEnable) == 0) return;
  const unsigned sleep_type = (bits & kControlSleepType) >> kSleepTypeShift;
  if (sleep_type == kSleepTypeS5) return machine_.request_stop(StopReason::kPowerOff, 0);
  LOG_GUEST("acpi: sleep type {} does not exist", sleep_type);
}

void AcpiPm::write_smi_command(u8 value) {
  smi_ports_[0] = value;
  if (value == kSmiCommandAcpiEnable) control_ |= kControlSciEnable;
  if (value == kSmiCommandAcpiDisable) control_ &= static_cast<u16>(~kControlSciEnable);
  update_sci();
}

void AcpiPm::press_power_button() {
  latched_status_ |= kEventPowerButton;
  update_sci();
}

void AcpiPm::raise_general_event(unsigned index) {
  VERIFY(index < 8 * sizeof(gpe_status_));
  gpe_status_ |= static_cast<u16>(1 << index);
  update_sci();
}

void AcpiPm::update_sci() {
  const bool has_event = (event_status() & event_enable_) != 0 || (gpe_status_ & gpe_enable_) != 0;
  sci_.set_level(has_event && (control_ & kControlSciEnable) != 0);
}

void AcpiPm::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  timer_.visit_state(visitor);
  visitor.field("latched_status", latched_status_);
  visitor.field("event_enable", event_enable_);
  visitor.field("control", control_);
  visitor.field("gpe_status", gpe_status_);
  visitor.field("gpe_enable", gpe_enable_);
  visitor.field("smi_ports", smi_ports_);
  visitor.end();
  if (!visitor.is_loading()) return;
  latched_status_ &= kEventMask;
  event_enable_ &= kEventMask;
  control_ &= kControlSciEnable | kControlBusMasterReload | kControlSleepType;
  timer_.watch((event_enable_ & kEventTimer) != 0);
  update_sci();
}

}  // namespace doppel
