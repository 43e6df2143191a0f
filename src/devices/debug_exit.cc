// Turns a port write into an exit status.
#include "devices/debug_exit.h"

namespace doppel {

void DebugExit::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.end();
}

void DebugExit::read(u64, std::span<u8> data) { store_le(data, 0); }

void DebugExit::write(u64, std::span<const u8> data) {
  const auto status = static_cast<u8>((load_le(data) << 1) | 1);
  machine_.request_stop(StopReason::kDebugExit, status);
}

}  // namespace doppel
