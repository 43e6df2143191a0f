// Stand-ins for what surrounds a PCI function, for tests.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "bus/pci_function.h"
#include "state/state_buffer.h"

namespace doppel::bus_test {

// Remembers the level of a wire. Owned by a test.
struct FakeLine final : InterruptLine {
  void set_level(bool level) override { is_high = level; }
  bool is_high = false;
};

// Writes down every message. Owned by a test.
struct FakeMessages final : MsiSink {
  struct Message {
    u64 address;
    u32 data;
    bool operator==(const Message&) const = default;
  };
  void send(u64 address, u32 data) override { sent.push_back({address, data}); }
  std::vector<Message> sent;
};

// Answers each byte with `tag` plus its offset and writes down what is written. Owned by a test.
struct FakeRegisters final : BusDevice {
  explicit FakeRegisters(u8 tag_of_device = 0) : tag(tag_of_device) {}
  void read(u64 offset, std::span<u8> data) override {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(tag + offset + i);
  }
  void write(u64 offset, std::span<const u8> data) override {
    last_offset = offset;
    last_value = load_le(data);
  }
  u8 tag;
  u64 last_offset = ~u64{0};
  u64 last_value = 0;
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
inline u64 read_config(PciFunction& function, u64 offset, unsigned size) {
  std::array<u8, 8> data = {};
  function.read_config(offset, std::span(data).first(size));
  return load_le(std::span(data).first(size));
}
inline void write_config(PciFunction& function, u64 offset, unsigned size, u64 value) {
  std::array<u8, 8> data = {};
  store_le(data, value);
  function.write_config(offset, std::span(data).first(size));
}

template <class Subject>
std::vector<u8> save(Subject& subject) {
  StateSaver saver;
  subject.visit_state(saver);
  return saver.take();
}
template <class Subject>
bool load(Subject& subject, const std::vector<u8>& state) {
  StateLoader loader(state);
  subject.visit_state(loader);
  return loader.finish().has_value();
}

}  // namespace doppel::bus_test
