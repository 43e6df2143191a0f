// Hashing the flow of a frame.
#include "devices/flow_steering.h"

namespace doppel {
namespace {

constexpr std::size_t kNetworkHeader = 14;

u32 sum_words(std::span<const u8> bytes) {
  u32 sum = 0;
  for (std::size_t i = 0; i + 2 <= bytes.size(); i += 2)
    sum += static_cast<u32>(bytes[i] << 8 | bytes[i + 1]);
  return sum;
}

}  // namespace

u8 FlowSteering::hash(std::span<const u8> frame) {
  if (frame.size() < kNetworkHeader + 40) return 0;
  const std::span<const u8> packet = frame.subspan(kNetworkHeader);
  u32 sum = 0;
  // Sums do not depend on which side is the source.
  if (frame[12] == 0x08 && frame[13] == 0x00) {
    const std::size_t header = (packet[0] & 0x0fu) * 4;
    sum = sum_words(packet.subspan(12, 8)) + sum_words(packet.subspan(std::min<std::size_t>(header, 36), 4));
  } else if (frame[12] == 0x86 && frame[13] == 0xdd && packet.size() >= 44) {
    sum = sum_words(packet.subspan(8, 32)) + sum_words(packet.subspan(40, 4));
  }
  return static_cast<u8>((sum * 0x9e3779b1u) >> 24);
}

}  // namespace doppel
