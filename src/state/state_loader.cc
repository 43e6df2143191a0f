// Reads the records of StateSaver from untrusted bytes.
#include <algorithm>
#include <cstring>
#include <utility>

#include "state/state_buffer.h"

namespace doppel {

namespace {

std::string_view kind_name(StateRecord kind) {
  switch (kind) {
    case StateRecord::kBegin:
      return "group";
    case StateRecord::kEnd:
      return "end of group";
    case StateRecord::kBytes:
      return "field";
    case StateRecord::kBlob:
      return "blob";
  }
  return "unknown record";
}

// Names in a hostile file may hold anything; terminals get only what is printable.
std::string printable(std::string_view text) {
  std::string result(text);
  std::ranges::replace_if(result, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return result;
}

}  // namespace

StateLoader::StateLoader(std::span<const u8> state) : rest_(state) {
  const auto magic = take_bytes(kStateMagic.size());
  if (!magic || !std::ranges::equal(*magic, kStateMagic)) {
    set_error("not a saved state: the file does not start with its magic number");
    return;
  }
  const auto version_bytes = take_bytes(sizeof(u32));
  if (!version_bytes) {
    set_error("saved state is truncated in its header");
    return;
  }
  u32 version = 0;
  std::memcpy(&version, version_bytes->data(), sizeof(version));
  if (version != kStateVersion) {
    set_error(fmt::format("saved state has format version {}; this program reads version {}", version,
                          kStateVersion));
  }
}

void StateLoader::set_error(std::string message) {
  if (!error_) error_ = std::move(message);
}

std::optional<std::span<const u8>> StateLoader::take_bytes(u64 count) {
  if (count > rest_.size()) return std::nullopt;
  const auto result = rest_.first(count);
  rest_ = rest_.subspan(count);
  return result;
}

std::optional<StateLoader::Field> StateLoader::next_record() {
  const auto kind_byte = take_bytes(1);
  if (!kind_byte) return std::nullopt;
  Field record = {static_cast<StateRecord>(kind_byte->front()), {}, {}};
  if (record.kind == StateRecord::kEnd) return record;
  const auto name_length = take_bytes(1);
  if (!name_length) return std::nullopt;
  const auto name = take_bytes(name_length->front());
  if (!name) return std::nullopt;
  record.name = {reinterpret_cast<const char*>(name->data()), name->size()};
  if (record.kind == StateRecord::kBegin) return record;
  const auto length_bytes = take_bytes(sizeof(u32));
  if (!length_bytes) return std::nullopt;
  u32 length = 0;
  std::memcpy(&length, length_bytes->data(), sizeof(length));
  const auto data = take_bytes(length);
  if (!data) return std::nullopt;
  record.data = *data;
  return record;
}

std::optional<std::span<const u8>> StateLoader::expect(StateRecord kind, std::string_view name) {
  if (error_) return std::nullopt;
  const auto record = next_record();
  if (record && record->kind == kind && record->name == name) return record->data;
  if (!record) {
    set_error(
        fmt::format("saved state ends where {} '{}{}' should be", kind_name(kind), path_.prefix(), name));
  } else {
    set_error(fmt::format("saved state has {} '{}' where {} '{}{}' should be", kind_name(record->kind),
                          printable(record->name), kind_name(kind), path_.prefix(), name));
  }
  return std::nullopt;
}

void StateLoader::begin(std::string_view name) {
  expect(StateRecord::kBegin, name);
  path_.enter(name);
}

void StateLoader::end() {
  expect(StateRecord::kEnd, {});
  path_.leave();
}

void StateLoader::bytes(std::string_view name, std::span<u8> data) {
  const auto saved = expect(StateRecord::kBytes, name);
  if (!saved) return;
  if (saved->size() != data.size()) {
    return set_error(fmt::format("saved state: field '{}{}' has {} bytes; this machine needs {}",
                                 path_.prefix(), name, saved->size(), data.size()));
  }
  std::ranges::copy(*saved, data.begin());
}

void StateLoader::blob(std::string_view name, std::vector<u8>& data, std::size_t max_size) {
  const auto saved = expect(StateRecord::kBlob, name);
  if (!saved) return;
  if (saved->size() > max_size) {
    return set_error(fmt::format("saved state: blob '{}{}' has {} bytes; at most {} are allowed",
                                 path_.prefix(), name, saved->size(), max_size));
  }
  data.assign(saved->begin(), saved->end());
}

void StateLoader::reject(std::string_view what) {
  set_error(fmt::format("saved state: {}{}{}", path_.prefix(), path_.is_root() ? "" : ": ", what));
}

Result<void> StateLoader::finish() const {
  if (error_) return fail("{}", *error_);
  if (!path_.is_root()) return fail("saved state: group '{}' is not finished", path_.prefix());
  if (!rest_.empty()) return fail("saved state has {} bytes after its last field", rest_.size());
  return {};
}

}  // namespace doppel
