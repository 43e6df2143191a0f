// BytePorts: a bus device whose registers are single bytes, as on the ISA bus.
#pragma once

#include "bus/bus_device.h"

namespace doppel {

// Splits wider accesses into bytes in ascending order, as the bus bridge of a PC does. Base of the legacy
// devices; called with the device lock held.
class BytePorts : public BusDevice {
 public:
  void read(u64 offset, std::span<u8> data) final {
    for (u8& byte : data) byte = read_byte(offset++);
  }
  void write(u64 offset, std::span<const u8> data) final {
    for (const u8 byte : data) write_byte(offset++, byte);
  }

 protected:
  virtual u8 read_byte(u64 offset) = 0;
  virtual void write_byte(u64 offset, u8 value) = 0;
};

}  // namespace doppel
