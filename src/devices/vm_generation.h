// VmGeneration: tells a guest that it is a copy of an earlier machine, and what its clock is worth.
#pragma once

#include "base/inputs.h"
#include "devices/general_events.h"
#include "memory/guest_memory.h"

namespace doppel {

// Two pages of guest RAM that the ACPI tables describe and the guest only reads: the generation identifier
// (Microsoft, "Virtual Machine Generation ID", 2012), 16 bytes that are different in every branch of a
// machine, and the clock page (Linux, include/uapi/linux/vmclock-abi.h, version 1), which relates the time
// stamp counter to UTC and has a marker that changes when that relation breaks. Owned by the machine; the
// state is the RAM. Called with the device lock held, or before anything runs.
class VmGeneration {
 public:
  // Both pages are RAM, from `pages` on.
  VmGeneration(GuestMemory& memory, Inputs& inputs, GuestPhys pages);

  GuestPhys identifier_page() const { return pages_; }
  GuestPhys clock_page() const { return pages_ + kPageSize; }

  // Before the guest's first instruction.
  void install();
  // The guest's state was loaded into a machine that is not, or not the only, continuation of the one that
  // was saved: a new identifier, a new clock, and both events.
  void change(GeneralEvents& events);

 private:
  void write_identifier();
  void write_clock();

  GuestMemory& memory_;
  Inputs& inputs_;
  GuestPhys pages_;
};

}  // namespace doppel
