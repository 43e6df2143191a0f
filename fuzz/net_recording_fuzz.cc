// Fuzzes recordings of networks: what is accepted must be replayed to its end, in order and within bounds.
#include <cstdlib>
#include <mutex>

#include "base/instruction_inputs.h"
#include "base/log.h"
#include "net/replay_network.h"
#include "state/state_buffer.h"

namespace {

using namespace doppel;

// A card that looks at all it is given and has room now and then.
class Card final : public NetReceiver {
 public:
  bool receive(unsigned, const NetHeader&, std::span<const u8> frame) override {
    if (frame.size() < kEthernetHeaderSize || frame.size() > kMaxFrameSize) std::abort();
    for (const u8 byte : frame) sum_ += byte;
    return ++calls_ % 4 != 0;
  }
  void receive_done() override {}
  void link_changed(bool) override {}

 private:
  u64 calls_ = 0;
  u64 sum_ = 0;
};

void replay(NetRecording recording) {
  std::mutex lock;
  const std::unique_lock held(lock);
  const std::size_t inputs = recording.inputs().size();
  InputPoints points(lock);
  InstructionInputs time;
  Card card;
  ReplayNetwork network("fuzz", std::move(recording), points, time);
  network.set_receiver(&card);
  for (std::size_t i = 0; i <= inputs; ++i) {
    std::unique_lock device_lock(lock, std::adopt_lock);
    const Nanoseconds next = points.idle_until(device_lock, time.now(), Timer::kNever, [] { return false; });
    device_lock.release();
    if (next == Timer::kNever) break;
    time.skip_to(next);
    points.pass(time.now());
    network.receive_ready(0);
  }
  StateSaver saver;
  network.visit_state(saver);
  const auto state = saver.take();
  StateLoader loader(state);
  network.visit_state(loader);
  if (!loader.finish()) std::abort();
  network.set_receiver(nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  set_log_level(LogLevel::kError);
  auto recording = NetRecording::parse("fuzz", {data, data + size});
  if (!recording && recording.error().message.empty()) std::abort();
  if (recording) replay(std::move(*recording));
  return 0;
}
