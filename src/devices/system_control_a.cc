// The register behind port 0x92.
#include "devices/system_control_a.h"

namespace doppel {

void SystemControlA::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("value", value_);
  visitor.end();
}

void SystemControlA::read(u64, std::span<u8> data) { store_le(data, value_); }

void SystemControlA::write(u64, std::span<const u8> data) {
  value_ = data[0] & kA20Gate;
  if ((data[0] & kFastReset) != 0) machine_.request_stop(StopReason::kReset, 0);
}

}  // namespace doppel
