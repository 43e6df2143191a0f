// MachineCpu: one vCPU of a machine with what belongs to it alone.
#pragma once

#include <condition_variable>
#include <memory>

#include "cpu/vcpu.h"
#include "machine/halt_polling.h"
#include "machine/vcpu_platform.h"

namespace doppel {

// Owned by VcpuSet. `engine` is run by the vCPU's thread without the device lock; everything else is used
// with the lock held, by any thread.
struct MachineCpu {
  MachineCpu(u32 id, const VcpuPlatform::World& world) : platform(id, world) {}

  VcpuPlatform platform;
  std::unique_ptr<Vcpu> engine;

  std::condition_variable wake;  // for a vCPU that sleeps in a halt or is held by a pause
  bool is_woken = false;         // something may have ended the halt since the vCPU last looked
  bool is_inside = false;        // the engine runs
  bool is_held = false;          // a debugger lets others run, but not this one
  bool is_asleep = false;        // in a halt
  HaltPolling halt_polling;
  u64 counted = 0;  // instructions retired when the engine last came back
};

}  // namespace doppel
