// Stand-ins for the machine around a device, for tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fake_inputs.h"
#include "bus/bus_device.h"
#include "devices/console.h"
#include "devices/machine_control.h"

namespace doppel {

// Owned by a test; remembers the level and counts rising edges.
class FakeLine final : public InterruptLine {
 public:
  void set_level(bool is_high) override {
    if (is_high && !is_high_) ++edges_;
    is_high_ = is_high;
  }
  bool is_high() const { return is_high_; }
  unsigned edges() const { return edges_; }

 private:
  bool is_high_ = false;
  unsigned edges_ = 0;
};

// Owned by a test; remembers the last request.
class FakeMachine final : public MachineControl {
 public:
  void request_stop(StopReason reason, int status) override {
    reason_ = reason;
    status_ = status;
  }
  std::optional<StopReason> reason() const { return reason_; }
  int status() const { return status_; }

 private:
  std::optional<StopReason> reason_;
  int status_ = -1;
};

// Owned by a test; collects what the guest printed.
class FakeSink final : public CharacterSink {
 public:
  void put(std::span<const u8> characters) override { text_.append(characters.begin(), characters.end()); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// One-line bus accesses.
inline u64 read_from(BusDevice& device, u64 offset, std::size_t size = 1) {
  std::vector<u8> data(size);
  device.read(offset, data);
  return load_le(data);
}
inline void write_to(BusDevice& device, u64 offset, u64 value, std::size_t size = 1) {
  std::vector<u8> data(size);
  store_le(data, value);
  device.write(offset, data);
}

}  // namespace doppel
