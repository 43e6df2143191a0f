// Framing, escapes and checksums.
#include "front/gdb/packet.h"

#include <fmt/format.h>

#include <utility>

#include "front/gdb/hex.h"

namespace doppel::gdb {
namespace {

constexpr u8 kInterrupt = 3;
constexpr u8 kEscapeMask = 0x20;

bool needs_escape(char character) {
  return character == '$' || character == '#' || character == '}' || character == '*';
}

}  // namespace

bool PacketReader::next(std::span<const u8>& bytes, Arrival& arrival) {
  while (!bytes.empty()) {
    const u8 byte = bytes.front();
    bytes = bytes.subspan(1);
    if (take(byte, arrival)) return true;
  }
  return false;
}

bool PacketReader::take(u8 byte, Arrival& arrival) {
  switch (place_) {
    case Place::kBetween:
      return take_between(byte, arrival);
    case Place::kPayload:
    case Place::kEscaped:
      take_payload(byte);
      return false;
    case Place::kChecksumHigh:
    case Place::kChecksumLow:
      break;
  }
  const int digit = hex_digit_value(static_cast<char>(byte));
  if (digit < 0) is_damaged_ = true;
  given_sum_ = static_cast<u8>(given_sum_ << 4 | (digit & 15));
  if (place_ == Place::kChecksumHigh) {
    place_ = Place::kChecksumLow;
    return false;
  }
  place_ = Place::kBetween;
  if (is_damaged_ || given_sum_ != sum_)
    arrival = DamagedPacket{};
  else
    arrival = Packet{std::exchange(payload_, {})};
  return true;
}

bool PacketReader::take_between(u8 byte, Arrival& arrival) {
  switch (byte) {
    case '$':
      place_ = Place::kPayload;
      payload_.clear();
      is_damaged_ = false;
      sum_ = given_sum_ = 0;
      return false;
    case '+':
      arrival = Acknowledgement{};
      return true;
    case '-':
      arrival = Rejection{};
      return true;
    case kInterrupt:
      arrival = Interruption{};
      return true;
    default:
      return false;
  }
}

void PacketReader::take_payload(u8 byte) {
  if (place_ == Place::kPayload && byte == '#') {
    place_ = Place::kChecksumHigh;
    return;
  }
  if (place_ == Place::kPayload && byte == '$') {  // the packet before was cut off
    payload_.clear();
    is_damaged_ = false;
    sum_ = 0;
    return;
  }
  sum_ = static_cast<u8>(sum_ + byte);
  if (place_ == Place::kEscaped) {
    place_ = Place::kPayload;
    append(byte ^ kEscapeMask);
  } else if (byte == '}') {
    place_ = Place::kEscaped;
  } else {
    append(byte);
  }
}

void PacketReader::append(u8 byte) {
  if (payload_.size() >= kMaxPayload) {
    is_damaged_ = true;
    return;
  }
  payload_ += static_cast<char>(byte);
}

std::string encode_packet(std::string_view payload) {
  std::string packet = "$";
  for (const char character : payload) {
    if (needs_escape(character)) {
      packet += '}';
      packet += static_cast<char>(static_cast<u8>(character) ^ kEscapeMask);
    } else {
      packet += character;
    }
  }
  u8 sum = 0;
  for (const char character : std::string_view(packet).substr(1))
    sum = static_cast<u8>(sum + static_cast<u8>(character));
  return packet + fmt::format("#{:02x}", sum);
}

}  // namespace doppel::gdb
