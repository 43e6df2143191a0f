// What the virtio specification fixes about block devices. virtio 1.2 section 5.2.
#pragma once

#include <cstddef>

#include "base/types.h"

namespace doppel::virtio_block {

// 5.2.3.
inline constexpr u64 kFeatureSegMax = u64{1} << 2;
inline constexpr u64 kFeatureReadOnly = u64{1} << 5;
inline constexpr u64 kFeatureBlockSize = u64{1} << 6;
inline constexpr u64 kFeatureFlush = u64{1} << 9;
inline constexpr u64 kFeatureTopology = u64{1} << 10;
inline constexpr u64 kFeatureConfigWce = u64{1} << 11;
inline constexpr u64 kFeatureMultiQueue = u64{1} << 12;
inline constexpr u64 kFeatureDiscard = u64{1} << 13;
inline constexpr u64 kFeatureWriteZeroes = u64{1} << 14;

// 5.2.6: request types and status bytes.
inline constexpr u32 kTypeIn = 0;
inline constexpr u32 kTypeOut = 1;
inline constexpr u32 kTypeFlush = 4;
inline constexpr u32 kTypeGetId = 8;
inline constexpr u32 kTypeDiscard = 11;
inline constexpr u32 kTypeWriteZeroes = 13;

inline constexpr u8 kStatusOk = 0;
inline constexpr u8 kStatusIoError = 1;
inline constexpr u8 kStatusUnsupported = 2;

inline constexpr std::size_t kIdSize = 20;

struct Header {
  u32 type;
  u32 reserved;
  u64 sector;
};
static_assert(sizeof(Header) == 16);

// Of discard and write zeroes.
struct Segment {
  u64 sector;
  u32 sectors;
  u32 flags;
};
static_assert(sizeof(Segment) == 16);
inline constexpr u32 kSegmentUnmap = 1;

// 5.2.4. Fields of features that are not offered stay 0.
struct [[gnu::packed]] Config {
  u64 capacity;  // in sectors
  u32 size_max;
  u32 seg_max;
  u16 cylinders;
  u8 heads;
  u8 sectors;
  u32 blk_size;
  u8 physical_block_exp;  // of 2, times blk_size
  u8 alignment_offset;
  u16 min_io_size;
  u32 opt_io_size;
  u8 writeback;
  u8 unused0;
  u16 num_queues;
  u32 max_discard_sectors;
  u32 max_discard_seg;
  u32 discard_sector_alignment;
  u32 max_write_zeroes_sectors;
  u32 max_write_zeroes_seg;
  u8 write_zeroes_may_unmap;
  u8 unused1[3];
};
static_assert(sizeof(Config) == 60);
static_assert(offsetof(Config, writeback) == 32);

}  // namespace doppel::virtio_block
