// Choosing a disk's back end.
#include "block/open_disk.h"

#include "block/nbd_backend.h"
#include "block/sync_file_backend.h"
#include "block/uring_file_backend.h"

namespace doppel {

Result<std::unique_ptr<BlockBackend>> open_disk(const DiskConfig& config, EventLoop* loop) {
  if (config.is_network()) return TRY(NbdBackend::create(config.target, config.is_read_only, loop));
  std::unique_ptr<DiskFile> file = TRY(DiskFile::open(
      {.path = config.target, .is_read_only = config.is_read_only, .is_direct = config.is_direct}));
  if (loop != nullptr) {
    auto backend = UringFileBackend::create(file, *loop);
    if (backend) return std::move(*backend);
    LOG_INFO("disk '{}': {}; each request is waited for", config.target, backend.error().message);
  }
  return std::make_unique<SyncFileBackend>(std::move(file));
}

}  // namespace doppel
