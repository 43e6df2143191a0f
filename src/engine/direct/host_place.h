// HostPlace: on which CPU of the host a vCPU's thread and its stub processes take turns.
#pragma once

#include <sched.h>

namespace doppel::direct {

// The monitor's thread and a stub's never run at once, so one CPU is right for all; waking another one takes
// several times as long. One for all stub processes of a vCPU; used on its thread only.
class HostPlace {
 public:
  // Holds the calling thread on its CPU of the moment. Every so often the host may choose again.
  void gather();
  // Gives the choice back to the host.
  void scatter();
  // The CPU that the thread is held on, or kAnywhere.
  int cpu() const { return cpu_; }
  // Where all threads may run.
  const cpu_set_t& cpus() const { return cpu_ == kAnywhere ? allowed_ : held_; }

  static constexpr int kAnywhere = -1;

 private:
  cpu_set_t allowed_ = {};  // to the thread, before it was held for the first time
  cpu_set_t held_ = {};
  int cpu_ = kAnywhere;
  bool is_known_ = false;  // what is allowed
  unsigned rounds_ = 0;    // while it was held
};

}  // namespace doppel::direct
