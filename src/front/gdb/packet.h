// Packets of GDB's remote protocol: `$payload#checksum`, acknowledgements, and the interrupt byte.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/types.h"

namespace doppel::gdb {

// The longest payload either side sends; told to GDB as PacketSize.
inline constexpr std::size_t kMaxPayload = 0x4000;

// What arrived. The payload is unescaped and may hold any byte.
struct Packet {
  std::string payload;
};
struct Acknowledgement {};
struct Rejection {};      // the peer asks for the last packet again
struct Interruption {};   // Ctrl-C outside a packet
struct DamagedPacket {};  // wrong checksum, or longer than kMaxPayload
using Arrival = std::variant<Packet, Acknowledgement, Rejection, Interruption, DamagedPacket>;

// Finds packets in a stream of bytes from an untrusted peer. Holds at most one payload. Bytes between packets
// that mean nothing are dropped.
class PacketReader {
 public:
  // Takes bytes from the front of `bytes` until something has arrived; false when they are used up.
  bool next(std::span<const u8>& bytes, Arrival& arrival);

 private:
  enum class Place : u8 { kBetween, kPayload, kEscaped, kChecksumHigh, kChecksumLow };
  bool take(u8 byte, Arrival& arrival);
  bool take_between(u8 byte, Arrival& arrival);
  void take_payload(u8 byte);
  void append(u8 byte);

  Place place_ = Place::kBetween;
  std::string payload_;
  bool is_damaged_ = false;
  u8 sum_ = 0;
  u8 given_sum_ = 0;
};

// A payload as it goes over the wire, with what needs it escaped.
std::string encode_packet(std::string_view payload);

}  // namespace doppel::gdb
