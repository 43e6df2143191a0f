// VirtioBlockFixture: a virtio disk behind a transport core, with a driver and a back end in the test's
// hands.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/fake_inputs.h"
#include "devices/virtio_block.h"
#include "state/state_buffer.h"
#include "state/state_digest.h"
#include "virtio/test_driver.h"

namespace doppel {

// A disk in memory that completes when the test says so, or at once. Owned by the device under test.
class FakeBackend final : public BlockBackend {
 public:
  explicit FakeBackend(const BlockLimits& disk) : limits_(disk), bytes_(disk.size) {}

  const BlockLimits& limits() const override { return limits_; }
  void set_client(BlockClient& client) override { client_ = &client; }
  void submit(BlockRequest& request) override {
    submitted.push_back(request);
    held.push_back(&request);
    if (completes_at_once) complete(BlockStatus::kOk);
  }
  void flush_submissions() override { ++flushes; }
  void drain() override {}
  void abandon() override {
    held.clear();
    ++abandons;
  }

  // Ends the oldest request.
  void complete(BlockStatus status) {
    BlockRequest& request = *held.front();
    held.erase(held.begin());
    if (status == BlockStatus::kOk) transfer(request);
    client_->request_completed(request, status);
  }
  void complete_all(BlockStatus status) {
    while (!held.empty()) complete(status);
    client_->batch_completed();
  }

  std::vector<u8>& bytes() { return bytes_; }
  bool completes_at_once = true;
  std::vector<BlockRequest> submitted;
  std::vector<BlockRequest*> held;
  unsigned flushes = 0;
  unsigned abandons = 0;

 private:
  void transfer(const BlockRequest& request) {
    u8* place = bytes_.data() + request.offset;
    if (request.operation == BlockOperation::kWriteZeroes) std::fill_n(place, request.length, 0);
    for (const iovec& piece : request.memory) {
      if (request.operation == BlockOperation::kRead) std::memcpy(piece.iov_base, place, piece.iov_len);
      if (request.operation == BlockOperation::kWrite) std::memcpy(place, piece.iov_base, piece.iov_len);
      place += piece.iov_len;
    }
  }

  BlockLimits limits_;
  std::vector<u8> bytes_;
  BlockClient* client_ = nullptr;
};

// A machine's worth around one disk; tests of saved state make two.
struct VirtioBlockBench {
  static constexpr u64 kSectors = 2048;
  static BlockLimits full_limits() {
    return {.size = kSectors * kSectorSize,
            .physical_block_size = 4096,
            .can_discard = true,
            .can_write_zeroes = true};
  }

  explicit VirtioBlockBench(const VirtioBlockConfig& config = {.serial = "serial-1"},
                            const BlockLimits& limits = full_limits())
      : owned_backend(std::make_unique<FakeBackend>(limits)),
        backend(*owned_backend),
        disk(std::move(owned_backend), config, timers),
        core(*memory, disk, {.has_packed = true}, interrupts),
        driver(*memory, core) {}

  FakeInputs inputs;
  TimerQueue timers{inputs};
  std::unique_ptr<GuestMemory> memory = *GuestMemory::create(8 * kMiB);
  std::unique_ptr<FakeBackend> owned_backend;
  FakeBackend& backend;
  VirtioBlock disk;
  FakeVirtioInterrupts interrupts;
  VirtioTransportCore core;
  TestDriver driver;
};

// Each test runs with split and with packed rings.
class VirtioBlockFixture : public testing::TestWithParam<bool> {
 protected:
  static constexpr u8 kNotWritten = 0xee;

  u64 features(u64 without = 0) const { return ~u64{0} & ~without & ~(GetParam() ? 0 : kVirtioFRingPacked); }
  TestPiece header(VirtioBlockBench& bench, u32 type, u64 sector) {
    return bench.driver.readable_value(virtio_block::Header{type, 0, sector});
  }
  TestPiece status_piece(VirtioBlockBench& bench) {
    const TestPiece piece = bench.driver.writable(1);
    bench.memory->write_value(piece.address, kNotWritten);
    return piece;
  }
  // Sends a chain whose last piece is the status byte, and returns that.
  u8 run(VirtioBlockBench& bench, std::vector<TestPiece> pieces) {
    const TestPiece status = status_piece(bench);
    pieces.push_back(status);
    bench.driver.send(0, pieces);
    used = bench.driver.take(0);
    EXPECT_TRUE(used.has_value());
    return *bench.memory->read_value<u8>(status.address);
  }
  u8 run_segment(VirtioBlockBench& bench, u32 type, const virtio_block::Segment& segment) {
    return run(bench, {header(bench, type, 0), bench.driver.readable_value(segment)});
  }

  std::optional<TestUsed> used;
};

inline std::string ring_name(const testing::TestParamInfo<bool>& info) {
  return info.param ? "Packed" : "Split";
}

}  // namespace doppel
