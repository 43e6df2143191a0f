// NbdBackend: a disk that another program or host serves over NBD.
#pragma once

#include <libnbd.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "block/block_backend.h"

namespace doppel {

// Requests are split into commands of at most kChunkSize bytes, whose data passes through buffers of this
// class: what is late for an abandoned request never reaches guest memory. A server that goes away fails its
// requests, now and later. Owned by the machine; called with the device lock held.
class NbdBackend final : public BlockBackend, private Poller {
 public:
  // Connects, and waits for that. Without a loop every request is waited for in submit().
  static Result<std::unique_ptr<NbdBackend>> create(const std::string& uri, bool is_read_only,
                                                    EventLoop* loop);
  ~NbdBackend() override;
  NbdBackend(const NbdBackend&) = delete;
  NbdBackend& operator=(const NbdBackend&) = delete;

  const BlockLimits& limits() const override { return limits_; }
  void set_client(BlockClient& client) override { client_ = &client; }
  void submit(BlockRequest& request) override;
  void flush_submissions() override;
  void drain() override;
  void abandon() override;
  u64 copied_bytes() const override { return copied_; }

 private:
  static constexpr u64 kChunkSize = 256 * kKiB;
  static constexpr std::size_t kChunks = 32;

  // A request on its way.
  struct Job {
    BlockRequest* request = nullptr;
    u64 issued = 0;            // bytes that commands were made for
    unsigned outstanding = 0;  // commands
    bool is_started = false;   // a flush has no bytes
    int error = 0;             // of the first command that failed; no more are made then
  };
  // A command on its way, or a free place for one.
  struct Chunk {
    NbdBackend* owner = nullptr;
    Job* job = nullptr;  // null: free, or its request was abandoned
    u64 offset = 0;      // inside the request
    u64 length = 0;
    bool is_running = false;
    std::vector<u8> buffer;
  };

  explicit NbdBackend(std::string uri) : uri_(std::move(uri)) {}
  Result<void> connect();
  Result<void> ask_server(bool is_read_only);
  std::unexpected<Error> last_error() const;
  Chunk* free_chunk();
  bool has_more(const Job& job) const;
  void issue_all();
  void issue_next(Job& job, Chunk& chunk);
  i64 issue(const BlockRequest& request, Chunk& chunk);
  void command_completed(Chunk& chunk, int error);
  void log_failure(const Job& job);
  void advance_jobs();
  bool finish_jobs();
  void wait_for_all();

  // Poller
  int prepare(std::vector<pollfd>& waits) override;
  void dispatch(std::span<const pollfd> waits) override;
  short wanted_events() const;

  std::string uri_;
  nbd_handle* nbd_ = nullptr;
  EventLoop* loop_ = nullptr;
  BlockClient* client_ = nullptr;
  BlockLimits limits_;
  std::deque<std::unique_ptr<Job>> jobs_;  // in order of submission
  std::vector<Chunk> chunks_;
  short polled_events_ = 0;  // what the loop waits for
  bool has_lost_server_ = false;
  bool has_completed_ = false;  // since the last batch_completed()
  u64 copied_ = 0;              // between buffers and guest RAM
  LogSite errors_;
};

}  // namespace doppel
