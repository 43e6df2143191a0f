// Choosing the host calls of a request and judging their results.
#include "block/file_transfer.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/verify.h"

namespace doppel {
namespace {

constexpr unsigned kMaxRetries = 100;

// Zeroes to write where the host has no better way. writev() only reads them.
constexpr u64 kZeroBytes = 64 * kKiB;
constexpr std::size_t kMaxZeroPieces = 64;
alignas(4096) constexpr std::array<u8, kZeroBytes> kZeroes = {};

bool is_unsupported(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == ENOTTY; }

}  // namespace

void FileTransfer::start(DiskFile& file, BlockRequest& request) {
  file_ = &file;
  request_ = &request;
  done_ = 0;
  retries_ = 0;
  means_ = best_means();
}

FileTransfer::Means FileTransfer::best_means() const {
  const bool wants_hole = request_->operation == BlockOperation::kDiscard ||
                          (request_->operation == BlockOperation::kWriteZeroes && request_->may_unmap);
  if (wants_hole && file_->can_punch()) return Means::kPunch;
  if (request_->operation != BlockOperation::kWriteZeroes) return Means::kPlain;
  return file_->can_zero_range() ? Means::kZeroRange : Means::kZeroWrites;
}

bool FileTransfer::needs_exclusion() const {
  if (!file_->is_direct()) return false;
  if (means_ == Means::kZeroWrites) return true;
  return request_->operation == BlockOperation::kWrite &&
         !file_->is_aligned(request_->offset, request_->memory);
}

FileCall FileTransfer::next() {
  switch (means_) {
    case Means::kPunch:
    case Means::kZeroRange:
      return allocate_call();
    case Means::kZeroWrites:
      return zero_call();
    case Means::kPlain:
      break;
  }
  if (request_->operation == BlockOperation::kFlush) {
    return {.kind = FileCall::Kind::kSync, .fd = file_->fd()};
  }
  // 5.2.6.2: a discarded range MAY be deallocated.
  if (request_->operation == BlockOperation::kDiscard) return {.kind = FileCall::Kind::kNothing};
  return transfer_call();
}

FileCall FileTransfer::transfer_call() {
  const std::span<const iovec> memory = rest();
  const u64 offset = request_->offset + done_;
  const bool is_read = request_->operation == BlockOperation::kRead;
  return {.kind = is_read ? FileCall::Kind::kRead : FileCall::Kind::kWrite,
          .fd = file_->is_aligned(offset, memory) ? file_->direct_fd() : file_->fd(),
          .offset = offset,
          .memory = memory};
}

// The request's memory from done_ on, as much as one call takes.
std::span<const iovec> FileTransfer::rest() {
  if (done_ == 0 && request_->memory.size() <= IOV_MAX) return request_->memory;
  window_.clear();
  u64 skip = done_;
  for (const iovec& piece : request_->memory) {
    if (window_.size() == IOV_MAX) break;
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    window_.push_back({static_cast<u8*>(piece.iov_base) + skip, piece.iov_len - skip});
    skip = 0;
  }
  return window_;
}

FileCall FileTransfer::allocate_call() const {
  const int mode = means_ == Means::kPunch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
  return {.kind = FileCall::Kind::kAllocate,
          .fd = file_->fd(),
          .offset = request_->offset,
          .length = request_->length,
          .mode = mode | FALLOC_FL_KEEP_SIZE};
}

FileCall FileTransfer::zero_call() {
  window_.clear();
  for (u64 left = request_->length - done_; left != 0 && window_.size() < kMaxZeroPieces;) {
    const u64 length = std::min(left, kZeroBytes);
    window_.push_back({const_cast<u8*>(kZeroes.data()), length});
    left -= length;
  }
  return {.kind = FileCall::Kind::kWrite,
          .fd = file_->fd(),
          .offset = request_->offset + done_,
          .memory = window_};
}

std::optional<BlockStatus> FileTransfer::advance(i64 result) {
  if (result < 0) return advance_failed(static_cast<int>(-result));
  retries_ = 0;
  const bool moves_bytes = request_->operation == BlockOperation::kRead ||
                           request_->operation == BlockOperation::kWrite || means_ == Means::kZeroWrites;
  if (!moves_bytes) return BlockStatus::kOk;
  const u64 count = static_cast<u64>(result);
  if (count == 0 || count > request_->length - done_) {
    file_->log_error(*request_, "the file has become shorter");
    return BlockStatus::kIoError;
  }
  done_ += count;
  if (done_ == request_->length) return BlockStatus::kOk;
  return std::nullopt;
}

std::optional<BlockStatus> FileTransfer::advance_failed(int error) {
  // ECANCELED: io_uring gives up the requests of a thread that ends.
  const bool may_retry = error == EINTR || error == EAGAIN || error == ECANCELED;
  if (may_retry && ++retries_ < kMaxRetries) return std::nullopt;
  if (is_unsupported(error) && !is_transfer()) {
    fall_back();
    return std::nullopt;
  }
  file_->log_error(*request_, std::strerror(error));
  return BlockStatus::kIoError;
}

void FileTransfer::fall_back() {
  if (means_ == Means::kPunch) {
    file_->lacks_punch();
  } else {
    file_->lacks_zero_range();
  }
  means_ = best_means();
}

}  // namespace doppel
