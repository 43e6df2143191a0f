// Carrying out file calls one after another.
#include "block/sync_file_backend.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace doppel {
namespace {

i64 perform(const FileCall& call) {
  const auto offset = static_cast<off_t>(call.offset);
  const int count = static_cast<int>(call.memory.size());
  i64 result = 0;
  switch (call.kind) {
    case FileCall::Kind::kRead:
      result = ::preadv(call.fd, call.memory.data(), count, offset);
      break;
    case FileCall::Kind::kWrite:
      result = ::pwritev(call.fd, call.memory.data(), count, offset);
      break;
    case FileCall::Kind::kSync:
      result = ::fdatasync(call.fd);
      break;
    case FileCall::Kind::kAllocate:
      result = ::fallocate(call.fd, call.mode, offset, static_cast<off_t>(call.length));
      break;
    case FileCall::Kind::kNothing:
      break;
  }
  return result < 0 ? -errno : result;
}

}  // namespace

void SyncFileBackend::submit(BlockRequest& request) {
  transfer_.start(*file_, request);
  std::optional<BlockStatus> status;
  while (!status) status = transfer_.advance(perform(transfer_.next()));
  has_completed_ = true;
  client_->request_completed(request, *status);
}

void SyncFileBackend::flush_submissions() {
  if (std::exchange(has_completed_, false)) client_->batch_completed();
}

}  // namespace doppel
