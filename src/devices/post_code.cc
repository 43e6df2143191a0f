// One byte that remembers.
#include "devices/post_code.h"

namespace doppel {

void PostCode::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("value", value_);
  visitor.end();
}

void PostCode::read(u64, std::span<u8> data) { store_le(data, value_); }

void PostCode::write(u64, std::span<const u8> data) { value_ = data[0]; }

}  // namespace doppel
