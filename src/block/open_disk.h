// Opening whatever a DiskConfig names.
#pragma once

#include <memory>

#include "base/event_loop.h"
#include "block/block_backend.h"
#include "block/disk_config.h"

namespace doppel {

// Without a loop, requests complete before submit() returns: for deterministic clocks. The loop outlives the
// back end; its lock is not held.
Result<std::unique_ptr<BlockBackend>> open_disk(const DiskConfig& config, EventLoop* loop);

}  // namespace doppel
