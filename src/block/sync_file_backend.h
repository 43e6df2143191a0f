// SyncFileBackend: a raw disk whose requests are over when submit() returns.
#pragma once

#include <memory>

#include "block/file_transfer.h"

namespace doppel {

// For deterministic clocks, and where the host has no io_uring. Owned by the machine; called with the device
// lock held, which it keeps while the host works.
class SyncFileBackend final : public BlockBackend {
 public:
  explicit SyncFileBackend(std::unique_ptr<DiskFile> file) : file_(std::move(file)) {}

  const BlockLimits& limits() const override { return file_->limits(); }
  void set_client(BlockClient& client) override { client_ = &client; }
  void submit(BlockRequest& request) override;
  void flush_submissions() override;
  void drain() override {}
  void abandon() override {}

 private:
  std::unique_ptr<DiskFile> file_;
  BlockClient* client_ = nullptr;
  FileTransfer transfer_;
  bool has_completed_ = false;  // since the last batch_completed()
};

}  // namespace doppel
