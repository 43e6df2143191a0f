// VirtioNetFixture: a network card with a driver on one side and a fake back end on the other.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "base/fake_inputs.h"
#include "devices/virtio_net.h"
#include "state/state_buffer.h"
#include "virtio/test_driver.h"

namespace doppel {

// Collects what the card sends; frames for the guest come from the test through receiver().
class FakeNetBackend final : public NetBackend {
 public:
  const NetLimits& limits() const override { return offered; }
  bool is_link_up() const override { return is_up; }
  void set_receiver(NetReceiver* receiver) override { receiver_ = receiver; }
  void configure(const NetDriverSettings& settings) override { driver = settings; }
  void send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) override {
    queues.push_back(queue);
    headers.push_back(header);
    std::string text;
    for (const iovec& piece : frame) text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    frames.push_back(std::move(text));
    if (answer.empty()) return;
    receiver_->receive(0, {}, answer);
    receiver_->receive_done();
  }
  void receive_ready(unsigned) override { ++ready_calls; }
  u64 copied_bytes() const override { return copied; }

  NetReceiver& receiver() { return *receiver_; }

  NetLimits offered;
  NetDriverSettings driver;
  bool is_up = true;
  std::vector<unsigned> queues;
  std::vector<NetHeader> headers;
  std::vector<std::string> frames;
  std::vector<u8> answer;  // to each frame, at once
  unsigned ready_calls = 0;
  u64 copied = 0;

 private:
  NetReceiver* receiver_ = nullptr;
};

// Runs each test with split and with packed rings.
class VirtioNetFixture : public testing::TestWithParam<bool> {
 protected:
  static constexpr u64 kEvery = ~u64{0};
  static constexpr MacAddress kMacAddress = {0x52, 0x54, 0, 1, 2, 3};
  static constexpr NetOffloads kAllOffloads = {
      .checksum = true, .tso4 = true, .tso6 = true, .ufo = true, .uso = true};

  VirtioNetFixture() {
    offered_ = {.from_guest = kAllOffloads, .to_guest = kAllOffloads, .mtu = 9000};
    make({.mac = kMacAddress});
  }
  void make(const VirtioNetSettings& settings) {
    driver_.reset();
    core_.reset();
    card_.reset();
    auto backend = std::make_unique<FakeNetBackend>();
    backend_ = backend.get();
    backend_->offered = offered_;
    card_ = std::make_unique<VirtioNet>(settings, std::move(backend), timers_);
    core_ = std::make_unique<VirtioTransportCore>(*memory_, *card_, VirtioOptions{.has_packed = true},
                                                  interrupts_);
    core_->reset();
    driver_ = std::make_unique<TestDriver>(*memory_, *core_);
  }
  // With the ring format of the test.
  bool start(u64 features = kEvery, u16 queue_size = 64) {
    features = (features & ~kVirtioFRingPacked) | (GetParam() ? kVirtioFRingPacked : 0);
    return driver_->start(features, queue_size);
  }

  // A frame to the card's address.
  static std::vector<u8> frame(std::size_t size, u8 fill = 0x5a) {
    std::vector<u8> bytes(size, fill);
    std::ranges::copy(kMacAddress, bytes.begin());
    return bytes;
  }
  bool receive(const std::vector<u8>& bytes, const NetHeader& header = {}) {
    const bool is_taken = backend_->receiver().receive(0, header, bytes);
    backend_->receiver().receive_done();
    return is_taken;
  }
  TestPiece offer_buffer(u32 size, unsigned pair = 0) {
    const TestPiece piece = driver_->writable(size);
    driver_->send(2 * pair, {piece});
    return piece;
  }
  void send(const NetHeader& header, const std::string& text, unsigned pair = 0) {
    driver_->send(2 * pair + 1, {driver_->readable_value(header), driver_->readable(text)});
  }
  NetHeader header_in(const TestPiece& piece) { return *memory_->read_value<NetHeader>(piece.address); }

  // Sends a control command; the answer.
  u8 command(u8 kind, u8 number, const std::string& data, unsigned queue = 2) {
    const u8 head[] = {kind, number};
    const TestPiece answer = driver_->writable(1);
    driver_->send(queue, {driver_->readable_value(head), driver_->readable(data), answer});
    return static_cast<u8>(driver_->text(answer)[0]);
  }
  template <class T>
  T config(u64 offset) {
    T value;
    core_->read_config(offset, {reinterpret_cast<u8*>(&value), sizeof(value)});
    return value;
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::create(8 * kMiB);
  FakeInputs inputs_;
  TimerQueue timers_{inputs_};
  NetLimits offered_;
  FakeNetBackend* backend_ = nullptr;  // the card's
  FakeVirtioInterrupts interrupts_;
  std::unique_ptr<VirtioNet> card_;
  std::unique_ptr<VirtioTransportCore> core_;
  std::unique_ptr<TestDriver> driver_;
};

}  // namespace doppel
