// EngineSwitcher: changes a running machine's engine again and again.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace doppel {

// For `--switch-every`: a test that the state of a machine is complete. Owned by the command line while the
// machine runs; `change` is called on a thread of its own.
class EngineSwitcher {
 public:
  EngineSwitcher(std::chrono::milliseconds period, std::function<void()> change);
  ~EngineSwitcher();
  EngineSwitcher(const EngineSwitcher&) = delete;
  EngineSwitcher& operator=(const EngineSwitcher&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_ending_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace doppel
