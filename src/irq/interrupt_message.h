// InterruptMessage and the two seams between interrupt controllers and the CPUs they interrupt.
#pragma once

#include "base/types.h"

namespace doppel {

// Delivery modes of the local vector table, the I/O APIC and MSIs. SDM 3A 10.5.1.
enum class DeliveryMode : u8 {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kNmi = 4,
  kInit = 5,
  kStartUp = 6,
  kExtInt = 7,
};

// One message on the APIC bus: from an I/O APIC, an MSI or another CPU. SDM 3A 10.11.
struct InterruptMessage {
  u32 destination = 0;  // APIC id, or a logical destination when is_logical
  bool is_logical = false;
  DeliveryMode mode = DeliveryMode::kFixed;
  u8 vector = 0;
  bool is_level = false;
  bool is_assert = true;
};

// What a local APIC asks of the vCPU it belongs to. Called with the device lock held.
class ApicCpu {
 public:
  virtual ~ApicCpu() = default;
  // has_interrupt() may have changed.
  virtual void interrupt_changed() = 0;
  virtual void receive_nmi() = 0;
  virtual void receive_init() = 0;
  virtual void receive_start_up(u8 vector) = 0;
  // This CPU's time stamp counter as the guest reads it, for TSC-deadline mode.
  virtual u64 guest_tsc() = 0;
};

}  // namespace doppel
