// PostCode: the diagnostic port 0x80.
#pragma once

#include "bus/bus_device.h"
#include "state/state_visitor.h"

namespace doppel {

// Keeps the last progress code that firmware wrote; kernels write here only to pass a microsecond. Owned by
// the registry's DeviceParts; called with the device lock held.
class PostCode final : public Component, public BusDevice {
 public:
  std::string_view name() const override { return "post_code"; }
  void reset() override { value_ = 0; }
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  u8 value_ = 0;
};

}  // namespace doppel
