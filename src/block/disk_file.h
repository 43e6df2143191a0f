// DiskFile: a raw disk image or host block device, opened, checked and locked.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "block/block_backend.h"

namespace doppel {

struct DiskFileOptions {
  std::string path;
  bool is_read_only = false;
  bool is_direct = false;  // O_DIRECT where the request's alignment allows
};

// The file behind a disk. Locked for as long as it is open: by one writer or by any number of readers. Owned
// by the back end that transfers.
class DiskFile {
 public:
  static Result<std::unique_ptr<DiskFile>> open(const DiskFileOptions& options);

  const std::string& path() const { return path_; }
  const BlockLimits& limits() const { return limits_; }
  int fd() const { return fd_.get(); }

  bool is_direct() const { return direct_fd_.is_valid(); }
  // Whether direct transfer is possible; what it cannot do goes through the page cache.
  bool is_aligned(u64 offset, std::span<const iovec> memory) const;
  int direct_fd() const { return direct_fd_.get(); }

  // What the host turned out to lack is not asked for again.
  bool can_punch() const { return can_punch_; }
  bool can_zero_range() const { return can_zero_range_; }
  void lacks_punch();
  void lacks_zero_range() { can_zero_range_ = false; }

  // One line for each failed request, until there were many.
  void log_error(const BlockRequest& request, std::string_view why);

 private:
  DiskFile() = default;
  Result<void> measure(bool is_read_only);
  Result<void> lock(bool is_read_only);
  Result<void> open_direct(bool is_read_only);
  Result<void> ask_block_device();
  void ask_alignment();

  std::string path_;
  UniqueFd fd_;
  UniqueFd direct_fd_;
  bool is_block_device_ = false;
  u32 memory_alignment_ = 1;  // for direct_fd_
  u32 offset_alignment_ = 1;
  bool can_punch_ = true;
  bool can_zero_range_ = true;
  BlockLimits limits_;
  LogSite errors_;
};

}  // namespace doppel
