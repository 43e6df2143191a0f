// FileTransfer: one request on a disk file as a row of host calls, whoever carries them out.
#pragma once

#include <optional>
#include <vector>

#include "block/block_backend.h"
#include "block/disk_file.h"

namespace doppel {

// One call to the host. Its result is what the system call returns, or the negative error number.
struct FileCall {
  enum class Kind : u8 { kRead, kWrite, kSync, kAllocate, kNothing };
  Kind kind = Kind::kRead;
  int fd = -1;
  u64 offset = 0;
  u64 length = 0;  // kAllocate
  int mode = 0;    // kAllocate: of fallocate(2)
  // kRead, kWrite: at most IOV_MAX pieces, valid until the next call.
  std::span<const iovec> memory = {};
};

// Continues short transfers, tries interrupted calls again and falls back to what the host can do. Owned by a
// back end while the request is in flight; reused for others.
class FileTransfer {
 public:
  FileTransfer() = default;
  void start(DiskFile& file, BlockRequest& request);

  BlockRequest& request() const { return *request_; }
  // A direct disk's write that has to go through the page cache. No other transfer may run beside it: the
  // cache would write back a whole page, with old neighbours.
  bool needs_exclusion() const;

  // What to ask of the host next.
  FileCall next();
  // The answer; how the request ended, or nothing while there is more to do.
  std::optional<BlockStatus> advance(i64 result);

 private:
  enum class Means : u8 { kPlain, kPunch, kZeroRange, kZeroWrites };

  FileCall transfer_call();
  FileCall allocate_call() const;
  FileCall zero_call();
  std::span<const iovec> rest();
  Means best_means() const;
  std::optional<BlockStatus> advance_failed(int error);
  void fall_back();
  bool is_transfer() const { return means_ == Means::kPlain || means_ == Means::kZeroWrites; }

  DiskFile* file_ = nullptr;
  BlockRequest* request_ = nullptr;
  Means means_ = Means::kPlain;
  u64 done_ = 0;               // bytes
  unsigned retries_ = 0;       // of the same call
  std::vector<iovec> window_;  // pieces of a call that does not take all of the request's memory
};

}  // namespace doppel
