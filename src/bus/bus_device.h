// BusDevice: what the port and memory buses call.
#pragma once

#include <span>

#include "base/types.h"

namespace doppel {

// A device on the port or memory bus. Called with the machine's device lock held. `offset` counts from the
// start of the range the device was mapped at; `data` is 1 to 8 bytes, little-endian, wholly inside the
// range.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  virtual void read(u64 offset, std::span<u8> data) = 0;
  virtual void write(u64 offset, std::span<const u8> data) = 0;
};

// A level-sensitive interrupt input: a device raises and lowers it; an edge is a raise after a lower.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void set_level(bool is_high) = 0;
  void pulse() {
    set_level(true);
    set_level(false);
  }
};

// Little-endian helpers for BusDevice bodies; sizes above 8 are refused by the bus.
inline u64 load_le(std::span<const u8> data) {
  u64 value = 0;
  for (std::size_t i = 0; i < data.size(); ++i) value |= u64{data[i]} << (8 * i);
  return value;
}
inline void store_le(std::span<u8> data, u64 value) {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(value >> (8 * i));
}

}  // namespace doppel
