// A thread that sleeps and changes engines.
#include "cli/engine_switcher.h"

namespace doppel {

EngineSwitcher::EngineSwitcher(std::chrono::milliseconds period, std::function<void()> change)
    : thread_([this, period, change = std::move(change)] {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, period, [this] { return is_ending_; })) {
          lock.unlock();
          change();
          lock.lock();
        }
      }) {}

EngineSwitcher::~EngineSwitcher() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

}  // namespace doppel
