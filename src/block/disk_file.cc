// Opening, measuring and locking of disk files.
#include "block/disk_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace doppel {
namespace {

// Alignment that satisfies every device when the kernel does not tell.
constexpr u32 kSafeAlignment = 4096;

std::string_view operation_name(BlockOperation operation) {
  switch (operation) {
    case BlockOperation::kRead:
      return "read";
    case BlockOperation::kWrite:
      return "write";
    case BlockOperation::kFlush:
      return "flush";
    case BlockOperation::kDiscard:
      return "discard";
    case BlockOperation::kWriteZeroes:
      return "write zeroes";
  }
  return "?";
}

}  // namespace

Result<std::unique_ptr<DiskFile>> DiskFile::open(const DiskFileOptions& options) {
  // A write beyond the process's file size limit is then an error like any other.
  std::signal(SIGXFSZ, SIG_IGN);
  auto file = std::unique_ptr<DiskFile>(new DiskFile());
  file->path_ = options.path;
  // O_NONBLOCK: a FIFO must not hold us up. It means nothing for what is accepted below.
  const int access = options.is_read_only ? O_RDONLY : O_RDWR;
  file->fd_ = UniqueFd(::open(options.path.c_str(), access | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file->fd_.is_valid()) {
    const bool is_protected = errno == EACCES || errno == EROFS || errno == EPERM;
    const std::string_view hint =
        is_protected && !options.is_read_only ? "; readonly=on needs no write access" : "";
    return fail("disk '{}': {}{}", options.path, std::strerror(errno), hint);
  }
  TRY_VOID(file->measure(options.is_read_only));
  TRY_VOID(file->lock(options.is_read_only));
  if (options.is_direct) TRY_VOID(file->open_direct(options.is_read_only));
  return file;
}

Result<void> DiskFile::measure(bool is_read_only) {
  struct stat status = {};
  if (::fstat(fd_.get(), &status) != 0) return fail("disk '{}': {}", path_, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return fail("disk '{}': is a directory", path_);
  is_block_device_ = S_ISBLK(status.st_mode);
  if (!S_ISREG(status.st_mode) && !is_block_device_) {
    return fail("disk '{}': is neither a file nor a block device", path_);
  }
  limits_.size = static_cast<u64>(status.st_size);
  limits_.physical_block_size = kSafeAlignment;
  if (is_block_device_) TRY_VOID(ask_block_device());
  if (limits_.size == 0) return fail("disk '{}': is empty", path_);
  if (limits_.size % kSectorSize != 0) {
    return fail("disk '{}': {} bytes are not a multiple of {}", path_, limits_.size, kSectorSize);
  }
  limits_.is_read_only = is_read_only;
  limits_.can_discard = !is_read_only;
  limits_.can_write_zeroes = !is_read_only;
  return {};
}

Result<void> DiskFile::ask_block_device() {
  unsigned int physical = 0;
  int logical = 0;
  if (::ioctl(fd_.get(), BLKGETSIZE64, &limits_.size) != 0 || ::ioctl(fd_.get(), BLKSSZGET, &logical) != 0 ||
      ::ioctl(fd_.get(), BLKPBSZGET, &physical) != 0) {
    return fail("disk '{}': asking the block device: {}", path_, std::strerror(errno));
  }
  limits_.block_size = static_cast<u32>(std::max(logical, int{kSectorSize}));
  limits_.physical_block_size = std::max<u32>(physical, limits_.block_size);
  return {};
}

// An open file description's own lock, so that two disks of one machine are kept apart as well.
Result<void> DiskFile::lock(bool is_read_only) {
  struct flock range = {};
  range.l_type = is_read_only ? F_RDLCK : F_WRLCK;
  range.l_whence = SEEK_SET;
  if (::fcntl(fd_.get(), F_OFD_SETLK, &range) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) {
    return fail("disk '{}': is in use by another machine or program", path_);
  }
  // File systems without locks (some network ones) cannot protect anybody.
  LOG_INFO("disk '{}': not locked: {}", path_, std::strerror(errno));
  return {};
}

Result<void> DiskFile::open_direct(bool is_read_only) {
  // Through /proc, so that it is the same file whatever happened to its name.
  const std::string name = fmt::format("/proc/self/fd/{}", fd_.get());
  direct_fd_ = UniqueFd(::open(name.c_str(), (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_DIRECT));
  if (!direct_fd_.is_valid()) {
    if (errno == EINVAL) return fail("disk '{}': its file system has no direct I/O; use direct=off", path_);
    return fail("disk '{}': direct I/O: {}", path_, std::strerror(errno));
  }
  ask_alignment();
  limits_.block_size = std::max(limits_.block_size, offset_alignment_);
  limits_.physical_block_size = std::max(limits_.physical_block_size, limits_.block_size);
  if (limits_.size % limits_.block_size != 0) limits_.block_size = kSectorSize;
  return {};
}

void DiskFile::ask_alignment() {
  memory_alignment_ = kSafeAlignment;
  offset_alignment_ = is_block_device_ ? limits_.block_size : kSafeAlignment;
#ifdef STATX_DIOALIGN
  struct statx status = {};
  if (::statx(direct_fd_.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0 && status.stx_dio_mem_align != 0) {
    memory_alignment_ = status.stx_dio_mem_align;
    offset_alignment_ = std::max<u32>(status.stx_dio_offset_align, kSectorSize);
  }
#endif
}

bool DiskFile::is_aligned(u64 offset, std::span<const iovec> memory) const {
  if (!is_direct() || offset % offset_alignment_ != 0) return false;
  u64 total = 0;
  for (const iovec& piece : memory) {
    if (reinterpret_cast<u64>(piece.iov_base) % memory_alignment_ != 0) return false;
    // A piece may end anywhere the next one may begin.
    if (piece.iov_len % memory_alignment_ != 0) return false;
    total += piece.iov_len;
  }
  return total % offset_alignment_ == 0;
}

void DiskFile::lacks_punch() {
  if (can_punch_) LOG_INFO("disk '{}': the host cannot deallocate parts of it", path_);
  can_punch_ = false;
}

void DiskFile::log_error(const BlockRequest& request, std::string_view why) {
  if (!errors_.admit()) return;
  LOG_WARNING("disk '{}': {} of {} bytes at {}: {}", path_, operation_name(request.operation), request.length,
              request.offset, why);
}

}  // namespace doppel
