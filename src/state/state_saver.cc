// Writes named, length-tagged records.
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "base/verify.h"
#include "state/state_buffer.h"

namespace doppel {

namespace {

std::array<u8, 4> to_bytes(u32 value) {
  std::array<u8, 4> result;
  std::memcpy(result.data(), &value, sizeof(value));
  return result;
}

}  // namespace

StateSaver::StateSaver() {
  append(kStateMagic);
  append(to_bytes(kStateVersion));
}

void StateSaver::append_name(StateRecord kind, std::string_view name) {
  VERIFY(name.size() <= kMaxStateName);
  buffer_.push_back(static_cast<u8>(kind));
  buffer_.push_back(static_cast<u8>(name.size()));
  append({reinterpret_cast<const u8*>(name.data()), name.size()});
}

void StateSaver::append_field(StateRecord kind, std::string_view name, std::span<const u8> data) {
  VERIFY(data.size() <= std::numeric_limits<u32>::max());
  append_name(kind, name);
  append(to_bytes(static_cast<u32>(data.size())));
  append(data);
}

void StateSaver::begin(std::string_view name) {
  append_name(StateRecord::kBegin, name);
  ++depth_;
}

void StateSaver::end() {
  VERIFY(depth_ != 0);
  --depth_;
  buffer_.push_back(static_cast<u8>(StateRecord::kEnd));
}

void StateSaver::bytes(std::string_view name, std::span<u8> data) {
  append_field(StateRecord::kBytes, name, data);
}

void StateSaver::blob(std::string_view name, std::vector<u8>& data, std::size_t max_size) {
  VERIFY(data.size() <= max_size);
  append_field(StateRecord::kBlob, name, data);
}

std::vector<u8> StateSaver::take() {
  VERIFY(depth_ == 0);
  return std::move(buffer_);
}

}  // namespace doppel
