// Fakes and shorthands shared by the tests of the interrupt controllers and timers.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "base/fake_inputs.h"
#include "bus/bus_device.h"
#include "irq/interrupt_message.h"
#include "irq/lapic.h"
#include "state/state_buffer.h"

namespace doppel::irq_test {

// Counts what a local APIC asks of its CPU. Owned by a test.
struct FakeCpu final : ApicCpu {
  explicit FakeCpu(FakeInputs& machine_inputs) : inputs(machine_inputs) {}
  void interrupt_changed() override { ++changes; }
  void receive_nmi() override { ++nmis; }
  void receive_init() override { ++inits; }
  void receive_start_up(u8 vector) override { start_ups.push_back(vector); }
  u64 guest_tsc() override { return inputs.tsc() + tsc_offset; }

  FakeInputs& inputs;
  u64 tsc_offset = 0;
  int changes = 0;
  int nmis = 0;
  int inits = 0;
  std::vector<u8> start_ups;
};

// Remembers the level of a wire and how often it rose. Owned by a test.
struct FakeLine final : InterruptLine {
  void set_level(bool level) override {
    if (level && !is_high) ++rises;
    is_high = level;
  }
  bool is_high = false;
  int rises = 0;
};

// Answers every INTA with the same vector. Owned by a test.
struct FakeExternalSource final : ExternalInterruptSource {
  std::optional<u8> acknowledge() override {
    ++acknowledged;
    return vector;
  }
  u8 vector = 0x30;
  int acknowledged = 0;
};

inline u64 read(BusDevice& device, u64 offset, unsigned size) {
  std::array<u8, 8> data = {};
  device.read(offset, std::span(data).first(size));
  return load_le(std::span(data).first(size));
}
inline void write(BusDevice& device, u64 offset, unsigned size, u64 value) {
  std::array<u8, 8> data = {};
  store_le(data, value);
  device.write(offset, std::span(data).first(size));
}
inline u8 read8(BusDevice& device, u64 offset) { return static_cast<u8>(read(device, offset, 1)); }
inline void write8(BusDevice& device, u64 offset, u64 value) { write(device, offset, 1, value); }
inline u32 read32(BusDevice& device, u64 offset) { return static_cast<u32>(read(device, offset, 4)); }
inline void write32(BusDevice& device, u64 offset, u64 value) { write(device, offset, 4, value); }

inline std::vector<u8> save(Component& component) {
  StateSaver saver;
  component.visit_state(saver);
  return saver.take();
}
inline bool load(Component& component, const std::vector<u8>& state) {
  StateLoader loader(state);
  component.visit_state(loader);
  return loader.finish().has_value();
}

}  // namespace doppel::irq_test
