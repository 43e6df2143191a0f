// StubFactory: makes stub processes from a small process that was split off early.
#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/guest_memory.h"

namespace doppel::direct {

// What the monitor has of a new stub.
struct StubParts {
  pid_t pid = -1;
  pid_t mapper = -1;  // its other thread
  UniqueFd process;   // pidfd
  UniqueFd listener;  // of its filter
};

// A process as large as a monitor takes tens of milliseconds to copy, most of them in faults afterwards; the
// factory's process was copied when the monitor was small, and has no descriptor but the guest's RAM. It dies
// with the thread that made it, and its stubs with it. One for a machine; thread-safe.
class StubFactory {
 public:
  // Before the machine grows. Fails where the host lacks FSGSBASE or refuses processes.
  static Result<std::unique_ptr<StubFactory>> create(const GuestMemory& memory);
  ~StubFactory();
  StubFactory(const StubFactory&) = delete;
  StubFactory& operator=(const StubFactory&) = delete;

  // A stub with the pages of `shared_file` (StubProcess). Fails where the host refuses what it needs.
  Result<StubParts> make(int shared_file);

 private:
  StubFactory(pid_t process, UniqueFd socket) : process_(process), socket_(std::move(socket)) {}

  pid_t process_;
  std::mutex mutex_;
  UniqueFd socket_;
};

}  // namespace doppel::direct
