// What reaches a machine's virtio devices from outside.
#include <thread>

#include "devices/virtio_balloon.h"
#include "devices/virtio_console.h"
#include "machine/machine.h"

namespace doppel {
namespace {

constexpr std::chrono::milliseconds kAnswerTime{2000};
constexpr std::chrono::milliseconds kLookAgain{5};

}  // namespace

void Machine::resize_terminal(u16 columns, u16 rows) {
  const std::lock_guard lock(buses_.device_lock);
  if (virtio_->terminal_console() != nullptr) virtio_->terminal_console()->resize(columns, rows);
  vcpus_.update_alarm();
}

Result<void> Machine::set_balloon(u64 bytes) {
  const std::lock_guard lock(buses_.device_lock);
  if (virtio_->balloon() == nullptr) return fail("balloon: the machine has none; start it with --balloon");
  if (bytes > config_.memory_bytes) {
    return fail("balloon: {} bytes are more than the machine's {} bytes of memory", bytes,
                config_.memory_bytes);
  }
  virtio_->balloon()->set_target_pages(static_cast<u32>(bytes >> kPageShift));
  vcpus_.update_alarm();
  return {};
}

Result<BalloonReport> Machine::balloon_report() {
  std::unique_lock lock(buses_.device_lock);
  VirtioBalloon* balloon = virtio_->balloon();
  if (balloon == nullptr) return fail("balloon: the machine has none; start it with --balloon");
  const u64 before = balloon->statistics_taken();
  const bool is_asked = balloon->request_statistics();
  vcpus_.update_alarm();
  for (auto waited = kLookAgain; is_asked && waited < kAnswerTime; waited += kLookAgain) {
    if (balloon->statistics_taken() != before) break;
    lock.unlock();
    std::this_thread::sleep_for(kLookAgain);
    lock.lock();
  }
  return BalloonReport{.target_bytes = u64{balloon->target_pages()} << kPageShift,
                       .actual_bytes = u64{balloon->actual_pages()} << kPageShift,
                       .is_fresh = balloon->statistics_taken() != before,
                       .statistics = balloon->statistics()};
}

}  // namespace doppel
