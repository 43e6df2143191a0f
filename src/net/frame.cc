// Gathering frames and completing checksums.
#include "net/frame.h"

#include <cstring>

namespace doppel {

std::size_t frame_size(std::span<const iovec> pieces) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  return size;
}

bool gather_frame(std::span<const iovec> pieces, std::vector<u8>& frame) {
  const std::size_t size = frame_size(pieces);
  if (size > kMaxFrameSize) return false;
  frame.resize(size);
  std::size_t filled = 0;
  for (const iovec& piece : pieces) {
    std::memcpy(frame.data() + filled, piece.iov_base, piece.iov_len);
    filled += piece.iov_len;
  }
  return true;
}

u16 ones_complement_sum(std::span<const u8> data) {
  // RFC 1071: the sum may be made in any byte order and in wider words, as long as carries come back in.
  u64 sum = 0;
  std::size_t i = 0;
  for (; i + 4 <= data.size(); i += 4) {
    u32 word;
    std::memcpy(&word, data.data() + i, sizeof(word));
    sum += word;
  }
  u32 rest = 0;
  std::memcpy(&rest, data.data() + i, data.size() - i);
  sum += rest;
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return __builtin_bswap16(static_cast<u16>(sum));
}

bool complete_checksum(const NetHeader& header, std::span<u8> frame) {
  if ((header.flags & NetHeader::kNeedsChecksum) == 0) return true;
  const std::size_t start = header.checksum_start;
  const std::size_t field = start + header.checksum_offset;
  if (field + 2 > frame.size()) return false;
  u16 checksum = static_cast<u16>(~ones_complement_sum(frame.subspan(start)));
  // RFC 768: 0 in UDP means that there is none; both values stand for the same sum.
  if (checksum == 0) checksum = 0xffff;
  frame[field] = static_cast<u8>(checksum >> 8);
  frame[field + 1] = static_cast<u8>(checksum);
  return true;
}

}  // namespace doppel
