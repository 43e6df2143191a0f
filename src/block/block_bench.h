// What tests of disks share: a temporary folder, an event loop with its lock, and a client that waits.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "block/block_backend.h"

namespace doppel {

// A folder that goes with the test. `parent`: a file system with the properties wanted.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& parent = "/tmp") {
    std::string name = parent + "/doppel-test-XXXXXX";
    path_ = ::mkdtemp(name.data()) == nullptr ? "" : name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  // A sparse file of zeroes.
  std::string make_file(const std::string& name, u64 size) const {
    std::ofstream file(*this / name);
    file.close();
    EXPECT_EQ(::truncate((*this / name).c_str(), static_cast<off_t>(size)), 0);
    return *this / name;
  }

 private:
  std::string path_;
};

inline std::vector<u8> file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Aligned memory in pieces, so that direct I/O takes it.
class Buffer {
 public:
  explicit Buffer(u64 size, u8 fill = 0, u64 piece = 0) : size_(size), memory_(size + kAlignment, fill) {
    const u64 step = piece == 0 ? size : piece;
    for (u64 at = 0; at < size; at += step) pieces_.push_back({data() + at, std::min(step, size - at)});
  }
  u8* data() {
    const u64 address = reinterpret_cast<u64>(memory_.data());
    return memory_.data() + (align_up(address, kAlignment) - address);
  }
  std::vector<u8> bytes() { return {data(), data() + size_}; }
  std::span<const iovec> pieces() const { return pieces_; }

 private:
  static constexpr u64 kAlignment = 4096;
  u64 size_;
  std::vector<u8> memory_;
  std::vector<iovec> pieces_;
};

// Submits requests under the loop's lock and waits for their ends.
class TestClient final : public BlockClient {
 public:
  explicit TestClient(std::mutex& lock) : lock_(lock) {}

  void request_completed(BlockRequest& request, BlockStatus status) override {
    ended_.push_back({&request, status});
    changed_.notify_all();
  }
  void batch_completed() override { ++batches_; }

  // The status of one request that runs alone.
  BlockStatus run(BlockBackend& backend, BlockRequest request) {
    std::unique_lock held(lock_);
    ended_.clear();
    backend.submit(request);
    backend.flush_submissions();
    if (!wait(held, 1)) return BlockStatus::kUnsupported;
    return ended_.front().status;
  }
  // How many of the requests succeed, all submitted at once.
  std::size_t run_all(BlockBackend& backend, std::span<BlockRequest> requests) {
    std::unique_lock held(lock_);
    ended_.clear();
    for (BlockRequest& request : requests) backend.submit(request);
    backend.flush_submissions();
    wait(held, requests.size());
    return succeeded();
  }
  std::size_t succeeded() const {
    return static_cast<std::size_t>(
        std::ranges::count(ended_, BlockStatus::kOk, [](const End& end) { return end.status; }));
  }
  std::size_t ended() const { return ended_.size(); }
  unsigned batches() const { return batches_; }

 private:
  struct End {
    BlockRequest* request;
    BlockStatus status;
  };
  bool wait(std::unique_lock<std::mutex>& held, std::size_t count) {
    return changed_.wait_for(held, std::chrono::seconds(20), [&] { return ended_.size() >= count; });
  }

  std::mutex& lock_;
  std::condition_variable changed_;
  std::vector<End> ended_;
  unsigned batches_ = 0;
};

// A started loop.
struct LoopBench {
  LoopBench() { loop->start(); }
  ~LoopBench() { loop->stop(); }

  std::mutex lock;
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create(lock));
  TestClient client{lock};
};

inline BlockRequest read_request(u64 offset, Buffer& buffer) {
  return {BlockOperation::kRead, offset, buffer.bytes().size(), buffer.pieces()};
}
inline BlockRequest write_request(u64 offset, Buffer& buffer) {
  return {BlockOperation::kWrite, offset, buffer.bytes().size(), buffer.pieces()};
}

}  // namespace doppel
