// Reading and checking of what a driver asks of its disk.
#include "devices/virtio_block_request.h"

namespace doppel {

using namespace virtio_block;

VirtioBlockAction VirtioBlockRequest::answer(u8 with) {
  status = with;
  return VirtioBlockAction::kAnswer;
}

VirtioBlockAction VirtioBlockRequest::parse(const VirtioBlockRules& rules) {
  is_flushing = false;
  may_unmap = false;
  memory = {};
  pieces.clear();
  const auto header = chain.read_value<Header>(0);
  const std::size_t piece_count = chain.readable().size() + chain.writable().size();
  if (!header || chain.writable_size() == 0 || piece_count > rules.max_pieces) return answer(kStatusIoError);
  switch (header->type) {
    case kTypeIn:
      return parse_transfer(rules, BlockOperation::kRead, header->sector);
    case kTypeOut:
      return parse_transfer(rules, BlockOperation::kWrite, header->sector);
    case kTypeFlush:
      operation = BlockOperation::kFlush;
      offset = 0;
      length = 0;
      return VirtioBlockAction::kSubmit;
    case kTypeGetId:
      return VirtioBlockAction::kGetId;
    case kTypeDiscard:
      return parse_range(rules, BlockOperation::kDiscard);
    case kTypeWriteZeroes:
      return parse_range(rules, BlockOperation::kWriteZeroes);
    default:
      return answer(kStatusUnsupported);
  }
}

VirtioBlockAction VirtioBlockRequest::parse_transfer(const VirtioBlockRules& rules, BlockOperation which,
                                                     u64 sector) {
  operation = which;
  const bool is_read = which == BlockOperation::kRead;
  // 5.2.6.2: a disk for reading MUST fail writes.
  if (!is_read && rules.limits.is_read_only) return answer(kStatusIoError);
  const u64 bytes = is_read ? chain.writable_size() - 1 : chain.readable_size() - sizeof(Header);
  if (!set_range(rules, sector, bytes)) return answer(kStatusIoError);
  if (bytes == 0) return answer(kStatusOk);
  pieces = is_read ? chain.writable_slice(0, bytes) : chain.readable_slice(sizeof(Header), bytes);
  memory = pieces.span();
  return VirtioBlockAction::kSubmit;
}

VirtioBlockAction VirtioBlockRequest::parse_range(const VirtioBlockRules& rules, BlockOperation which) {
  operation = which;
  const bool is_discard = which == BlockOperation::kDiscard;
  if (rules.limits.is_read_only) return answer(kStatusIoError);
  if (!(is_discard ? rules.limits.can_discard : rules.limits.can_write_zeroes)) {
    return answer(kStatusUnsupported);
  }
  // One segment, as max_discard_seg and max_write_zeroes_seg say.
  const auto segment = chain.read_value<Segment>(sizeof(Header));
  if (!segment || chain.readable_size() != sizeof(Header) + sizeof(Segment)) return answer(kStatusIoError);
  // 5.2.6.2: flags that are unknown, and unmap with discard, are unsupported.
  const u32 known_flags = is_discard ? 0 : kSegmentUnmap;
  if ((segment->flags & ~known_flags) != 0) return answer(kStatusUnsupported);
  if (segment->sectors > VirtioBlockRules::kMaxRangeSectors ||
      !set_range(rules, segment->sector, u64{segment->sectors} * kSectorSize)) {
    return answer(kStatusIoError);
  }
  may_unmap = (segment->flags & kSegmentUnmap) != 0;
  return length == 0 ? answer(kStatusOk) : VirtioBlockAction::kSubmit;
}

// False when it is not whole blocks inside the disk.
bool VirtioBlockRequest::set_range(const VirtioBlockRules& rules, u64 sector, u64 bytes) {
  const u64 capacity = rules.limits.size / kSectorSize;
  if (bytes % kSectorSize != 0 || sector > capacity || bytes / kSectorSize > capacity - sector) return false;
  offset = sector * kSectorSize;
  length = bytes;
  return true;
}

}  // namespace doppel
