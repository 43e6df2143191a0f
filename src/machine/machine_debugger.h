// MachineDebugger: stops, looks into and continues a machine on behalf of a debugger.
#pragma once

#include <vector>

#include "base/result.h"
#include "machine/debug_types.h"
#include "machine/vcpu_set.h"
#include "memory/guest_memory.h"

namespace doppel {

// Holds one pause of the machine while the debugger has it stopped. Owned by the machine; called from any
// thread but a vCPU's, without the device lock, except where said. What needs a machine that stands still
// fails when the debugger let it run.
class MachineDebugger {
 public:
  MachineDebugger(VcpuSet& vcpus, MachineBuses& buses, GuestMemory& memory);

  // Before anything runs.
  void set_listener(DebugListener listener) { listener_ = std::move(listener); }

  // Returns when no vCPU executes.
  void pause();
  Result<void> resume(const std::vector<DebugMotion>& motions);
  // Forgets the stops and lets everything run.
  void detach();
  // Gives up the pause, so that a run can end. Device lock held.
  void release();
  // The run is over.
  void run_ended();

  // What all vCPUs stop for; `stops.steps` is not used.
  Result<void> set_stops(const DebugControl& stops);
  Result<void> read_registers(unsigned cpu, DebugRegisters& out);
  Result<void> write_registers(unsigned cpu, const DebugRegisters& registers);
  // By linear address, as the vCPU would translate it, whatever its rights. RAM only: reading a device may
  // change it.
  Result<void> read_memory(unsigned cpu, GuestVirt address, std::span<u8> out);
  Result<void> write_memory(unsigned cpu, GuestVirt address, std::span<const u8> data);
  // Calls `look` while the machine stands still.
  template <class Look>
  Result<void> look(unsigned cpu, Look&& look) {
    const Standstill standstill(vcpus_);
    TRY_VOID(check(cpu));
    look(vcpus_.cpu(cpu));
    return {};
  }

 private:
  // Nobody executes while it exists, whatever becomes of the debugger's own pause.
  class Standstill {
   public:
    explicit Standstill(VcpuSet& vcpus) : vcpus_(vcpus) { vcpus_.pause(); }
    ~Standstill() { vcpus_.resume(); }
    Standstill(const Standstill&) = delete;
    Standstill& operator=(const Standstill&) = delete;

   private:
    VcpuSet& vcpus_;
  };

  void hit(unsigned cpu, const DebugHit& hit);
  Result<void> check(unsigned cpu);
  Result<void> apply(unsigned cpu, const DebugControl& control);
  std::vector<GuestPhys> translate(unsigned cpu, GuestVirt address, u64 size);

  VcpuSet& vcpus_;
  MachineBuses& buses_;
  GuestMemory& memory_;
  DebugListener listener_;
  bool is_paused_ = false;  // with the device lock: the debugger holds a pause
  DebugControl stops_;
  std::vector<DebugControl> applied_;  // what each engine was told
};

}  // namespace doppel
