// UringFileBackend: a raw disk through the kernel's io_uring.
#pragma once

#include <liburing.h>

#include <deque>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "block/file_transfer.h"

namespace doppel {

// Requests become submission entries; flush_submissions() hands them to the kernel in one call and takes what
// completed at once (data in the page cache). Later completions arrive through an eventfd on the event loop.
// Owned by the machine; called with the device lock held.
class UringFileBackend final : public BlockBackend {
 public:
  // Fails when the kernel has no io_uring or forbids it; `file` is untouched then.
  static Result<std::unique_ptr<UringFileBackend>> create(std::unique_ptr<DiskFile>& file, EventLoop& loop);
  ~UringFileBackend() override;
  UringFileBackend(const UringFileBackend&) = delete;
  UringFileBackend& operator=(const UringFileBackend&) = delete;

  const BlockLimits& limits() const override { return file_->limits(); }
  void set_client(BlockClient& client) override { client_ = &client; }
  void submit(BlockRequest& request) override;
  void flush_submissions() override;
  void drain() override;
  void abandon() override;

 private:
  class CompletionPoller;

  UringFileBackend();
  Result<void> open_ring();
  FileTransfer* take_transfer();
  bool may_start(const FileTransfer& transfer) const;
  void start_waiting();
  bool prepare(FileTransfer& transfer);
  bool enter();
  bool reap();
  void handle_completions();
  void set_eventfd(bool speaks);
  void completed(FileTransfer& transfer, i64 result);
  void wait_for_all();

  std::unique_ptr<DiskFile> file_;
  BlockClient* client_ = nullptr;
  io_uring ring_ = {};
  bool has_ring_ = false;
  UniqueFd event_fd_;
  std::unique_ptr<CompletionPoller> poller_;
  bool is_polled_ = false;  // the eventfd stays silent

  std::vector<std::unique_ptr<FileTransfer>> transfers_;  // all there are
  std::vector<FileTransfer*> free_;
  std::deque<FileTransfer*> waiting_;  // for room in the ring, or for others to end; in order
  unsigned running_ = 0;               // in the ring or the kernel
  bool is_exclusive_ = false;          // the one that is running runs alone
  bool is_flushing_ = false;
  bool has_completed_ = false;  // since the last batch_completed()
  bool is_abandoning_ = false;
};

}  // namespace doppel
