// Fakes for tests of back ends: a card that collects frames, and frames to send.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>

#include "base/event_loop.h"
#include "net/net_backend.h"

namespace doppel {

// Keeps what arrives, as long as there is room.
class CollectingReceiver final : public NetReceiver {
 public:
  bool receive(unsigned queue, const NetHeader& header, std::span<const u8> frame) override {
    if (room == 0) {
      ++refused;
      return false;
    }
    --room;
    queues.push_back(queue);
    headers.push_back(header);
    frames.emplace_back(frame.begin(), frame.end());
    return true;
  }
  void receive_done() override {
    ++runs;
    changed.notify_all();
  }
  void link_changed(bool is_up) override {
    link_up = is_up;
    ++link_changes;
    changed.notify_all();
  }

  std::condition_variable changed;
  std::size_t room = 1000;
  unsigned refused = 0;
  unsigned runs = 0;
  std::vector<unsigned> queues;
  std::vector<NetHeader> headers;
  std::vector<std::vector<u8>> frames;
  bool link_up = false;
  unsigned link_changes = 0;
};

// A running event loop with its lock and a receiver.
struct NetFixture : testing::Test {
  void SetUp() override {
    loop = std::move(*EventLoop::create(lock));
    loop->start();
  }
  void TearDown() override { loop->stop(); }

  // Waits until `condition` holds, with the lock taken while it looks.
  template <class Condition>
  bool wait_until(CollectingReceiver& who, Condition condition) {
    std::unique_lock held(lock);
    return who.changed.wait_for(held, std::chrono::seconds(10), condition);
  }
  bool wait_frames(CollectingReceiver& who, std::size_t count) {
    return wait_until(who, [&] { return who.frames.size() >= count; });
  }
  void send(NetBackend& backend, const std::vector<u8>& frame, const NetHeader& header = {}) {
    const std::lock_guard held(lock);
    const iovec piece{const_cast<u8*>(frame.data()), frame.size()};
    backend.send(0, header, {&piece, 1});
  }

  std::mutex lock;
  std::unique_ptr<EventLoop> loop;
  CollectingReceiver receiver;
};

// A frame of `size` bytes that no network stack understands (an experimental EtherType), filled with `fill`.
inline std::vector<u8> test_frame(std::size_t size, u8 fill) {
  std::vector<u8> frame(size, fill);
  std::fill_n(frame.begin(), 6, u8(0xff));
  frame[12] = 0x88;
  frame[13] = 0xb5;
  return frame;
}

}  // namespace doppel
