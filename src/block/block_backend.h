// BlockBackend: where the sectors of a virtual disk are kept.
#pragma once

#include <sys/uio.h>

#include <functional>
#include <span>

#include "base/types.h"

namespace doppel {

inline constexpr u64 kSectorSize = 512;

enum class BlockOperation : u8 { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };
enum class BlockStatus : u8 { kOk, kIoError, kUnsupported };

// One transfer. Offset and length are in bytes, multiples of kSectorSize and inside the disk: the device
// checked them. `memory` covers `length` bytes for kRead and kWrite and stays valid until completion.
struct BlockRequest {
  BlockOperation operation = BlockOperation::kRead;
  u64 offset = 0;
  u64 length = 0;
  std::span<const iovec> memory;
  bool may_unmap = false;  // kWriteZeroes: the range may be deallocated
  std::function<void(BlockStatus)>
      complete;  // called once, with the device lock held, perhaps before submit() returns
};

// What a back end can do; fixed for its life.
struct BlockLimits {
  u64 size = 0;                  // bytes
  u32 block_size = kSectorSize;  // best alignment and granularity for the guest
  bool is_read_only = false;
  bool can_discard = false;
  bool can_write_zeroes = false;
};

// Carries out requests in any order; a flush covers the writes that completed before it was submitted. Owned
// by the machine; called with the device lock held. A short read or write on the host is retried or an error,
// never a success. Errors are logged once a request.
class BlockBackend {
 public:
  virtual ~BlockBackend() = default;
  virtual const BlockLimits& limits() const = 0;
  // `request` lives until it completes.
  virtual void submit(BlockRequest& request) = 0;
  // Returns when no request is in flight: completions may run before it does. Only for orderly shutdown.
  virtual void drain() = 0;
};

}  // namespace doppel
