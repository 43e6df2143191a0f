// I8042: the PC's keyboard controller with nothing plugged in.
#pragma once

#include <array>

#include "bus/bus_device.h"
#include "devices/machine_control.h"
#include "state/state_visitor.h"

namespace doppel {

// The controller of the PS/2 (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
// Controller") with both sockets empty: it answers every controller command, and a byte sent to a device
// brings back 0xfe with the timeout bit, which drivers take as "nobody there" at once. Owned by the
// registry's DeviceParts; called with the device lock held.
class I8042 final : public Component, public BusDevice {
 public:
  // Offsets from port 0x60.
  static constexpr u64 kDataOffset = 0;
  static constexpr u64 kCommandOffset = 4;

  I8042(InterruptLine& keyboard_interrupt, InterruptLine& mouse_interrupt, MachineControl& machine);

  std::string_view name() const override { return "i8042"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  // One byte on its way to port 0x60, with the status bits that accompany it.
  struct Answer {
    u8 data;
    u8 status;
  };
  static constexpr unsigned kQueueSize = 8;

  u8 read_data();
  u8 status() const;
  u8 output_port() const;
  u8 front_status() const { return count_ != 0 ? queue_[head_].status : 0; }
  void write_data(u8 value);
  void run_command(u8 command);
  void run_port_command(u8 command);
  void finish_command(u8 command, u8 value);
  void write_output_port(u8 value);
  void answer(u8 data, u8 status_bits = 0);
  void update_interrupts();

  InterruptLine& keyboard_interrupt_;
  InterruptLine& mouse_interrupt_;
  MachineControl& machine_;

  std::array<u8, 32> memory_{};             // the controller's RAM; byte 0 is the command byte
  std::array<Answer, kQueueSize> queue_{};  // ring of answers not yet read
  u8 head_ = 0;
  u8 count_ = 0;
  u8 last_data_ = 0;          // what port 0x60 shows when nothing is waiting
  u8 pending_command_ = 0;    // the command whose parameter comes next, 0 when none
  bool was_command_ = false;  // status bit 3: the last write went to port 0x64
  bool is_a20_enabled_ = true;
};

}  // namespace doppel
