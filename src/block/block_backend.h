// BlockBackend: where the sectors of a virtual disk are kept.
#pragma once

#include <sys/uio.h>

#include <span>

#include "base/types.h"

namespace doppel {

inline constexpr u64 kSectorSize = 512;

enum class BlockOperation : u8 { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };
enum class BlockStatus : u8 { kOk, kIoError, kUnsupported };

// One transfer. Offset and length are in bytes, multiples of kSectorSize and inside the disk: the device
// checked them. `memory` covers `length` bytes for kRead and kWrite, in pieces of at least one byte, and
// stays valid until completion. Guest memory: its bytes may change at any time.
struct BlockRequest {
  BlockOperation operation = BlockOperation::kRead;
  u64 offset = 0;
  u64 length = 0;
  std::span<const iovec> memory = {};
  bool may_unmap = false;  // kWriteZeroes: the range may be deallocated
};

// Whoever submits requests, usually a device; hears how they end. Called with the device lock held, on the
// event loop's thread or from inside submit(), flush_submissions() and drain().
class BlockClient {
 public:
  virtual ~BlockClient() = default;
  // Once a request. The back end does not touch the request again.
  virtual void request_completed(BlockRequest& request, BlockStatus status) = 0;
  // No more for the moment: time to tell the guest, once for many.
  virtual void batch_completed() = 0;
};

// What a back end can do; fixed for its life.
struct BlockLimits {
  u64 size = 0;                           // bytes
  u32 block_size = kSectorSize;           // smallest unit that the guest should use
  u32 physical_block_size = kSectorSize;  // best alignment and granularity for the guest
  bool is_read_only = false;
  bool can_discard = false;
  bool can_write_zeroes = false;
};

// Carries out requests in any order; a flush covers the writes that completed before it was submitted. Owned
// by the machine; called with the device lock held. A short read or write on the host is retried or an error,
// never a success. Errors are logged.
class BlockBackend {
 public:
  virtual ~BlockBackend() = default;
  virtual const BlockLimits& limits() const = 0;
  // Before the first request; the client outlives them.
  virtual void set_client(BlockClient& client) = 0;
  // `request` lives until it completes. It may wait for flush_submissions(), so that one call to the host can
  // start many.
  virtual void submit(BlockRequest& request) = 0;
  virtual void flush_submissions() = 0;
  // Returns when no request is in flight: completions run before it does.
  virtual void drain() = 0;
  // Forgets every request: none completes, and once this returns nothing touches their memory. May wait for
  // the host.
  virtual void abandon() = 0;
  // Bytes of requests that it copied from one place of this process to another so far; none when the host
  // transfers from and to guest RAM.
  virtual u64 copied_bytes() const { return 0; }
};

}  // namespace doppel
