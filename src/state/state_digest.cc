// Hashing and printing of visited fields.
#include "state/state_digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <cstring>
#include <iterator>

#include "base/verify.h"
#include "state/state_format.h"

namespace doppel {

namespace {

// The longest byte strings that are printed in full.
constexpr std::size_t kMaxPrintedBytes = 64;

std::string bytes_to_hex(std::span<const u8> data) {
  std::string result;
  result.reserve(data.size() * 2);
  for (const u8 byte : data) fmt::format_to(std::back_inserter(result), "{:02x}", byte);
  return result;
}

u64 to_number(std::span<const u8> data) {
  u64 value = 0;
  if (!data.empty()) std::memcpy(&value, data.data(), data.size());
  return value;
}

std::string describe(std::span<const u8> data) {
  const std::size_t size = data.size();
  if (size == 1 || size == 2 || size == 4 || size == 8) {
    return fmt::format("{:#0{}x}", to_number(data), 2 + 2 * size);
  }
  if (size <= kMaxPrintedBytes) return fmt::format("[{}] {}", size, bytes_to_hex(data));
  return fmt::format("[{}] xxh3:{:016x}", size, XXH3_64bits(data.data(), size));
}

}  // namespace

StateHasher::StateHasher() : hash_(XXH3_createState()) {
  VERIFY(hash_ != nullptr);
  XXH3_64bits_reset(hash_);
}

StateHasher::~StateHasher() { XXH3_freeState(hash_); }

void StateHasher::add_tag(u8 kind, std::string_view name, u64 length) {
  VERIFY(name.size() <= kMaxStateName);
  std::array<u8, 2 + kMaxStateName + sizeof(length)> tag;
  tag[0] = kind;
  tag[1] = static_cast<u8>(name.size());
  if (!name.empty()) std::memcpy(tag.data() + 2, name.data(), name.size());
  std::memcpy(tag.data() + 2 + name.size(), &length, sizeof(length));
  XXH3_64bits_update(hash_, tag.data(), 2 + name.size() + sizeof(length));
}

void StateHasher::begin(std::string_view name) { add_tag(static_cast<u8>(StateRecord::kBegin), name, 0); }

void StateHasher::end() { add_tag(static_cast<u8>(StateRecord::kEnd), {}, 0); }

void StateHasher::bytes(std::string_view name, std::span<u8> data) {
  add_tag(static_cast<u8>(StateRecord::kBytes), name, data.size());
  XXH3_64bits_update(hash_, data.data(), data.size());
}

void StateHasher::blob(std::string_view name, std::vector<u8>& data, std::size_t) {
  add_tag(static_cast<u8>(StateRecord::kBlob), name, data.size());
  XXH3_64bits_update(hash_, data.data(), data.size());
}

u64 StateHasher::digest() const { return XXH3_64bits_digest(hash_); }

void StatePrinter::bytes(std::string_view name, std::span<u8> data) {
  fmt::format_to(std::back_inserter(text_), "{}{} = {}\n", path_.prefix(), name, describe(data));
}

void StatePrinter::blob(std::string_view name, std::vector<u8>& data, std::size_t) { bytes(name, data); }

}  // namespace doppel
