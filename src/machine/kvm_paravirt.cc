// Paravirtual clock pages, PV end-of-interrupt and hypercalls.
#include "machine/kvm_paravirt.h"

#include "x86/cpuid.h"
#include "x86/msr.h"

namespace doppel {
namespace {

constexpr u64 kEnable = 1;
constexpr u64 kStealTimeReserved = 0x3e;
constexpr u64 kHypercallSendIpi = 10;
constexpr u64 kNoSuchHypercall = static_cast<u64>(-1000);  // -KVM_ENOSYS

// struct pvclock_vcpu_time_info. msr.rst, MSR_KVM_SYSTEM_TIME_NEW.
struct ClockPage {
  u32 version = 0;
  u32 pad0 = 0;
  u64 tsc_timestamp = 0;
  u64 system_time = 0;
  u32 tsc_to_system_mul = 0;
  i8 tsc_shift = 0;
  u8 flags = 0;
  u8 pad[2] = {};
};
static_assert(sizeof(ClockPage) == 32);
constexpr u8 kTscStable = 1;

// struct kvm_steal_time. msr.rst, MSR_KVM_STEAL_TIME.
struct StealTime {
  u64 steal = 0;
  u32 version = 0;
  u32 flags = 0;
  u8 preempted = 0;
  u8 pad8[3] = {};
  u32 pad[11] = {};
};
static_assert(sizeof(StealTime) == 64);

struct WallClock {
  u32 version;
  u32 seconds;
  u32 nanoseconds;
};

}  // namespace

KvmParavirt::KvmParavirt(GuestMemory& memory, Inputs& inputs, ApicBus& bus, LocalApic& lapic)
    : memory_(memory), inputs_(inputs), bus_(bus), lapic_(lapic) {}

u32 KvmParavirt::features() {
  return x86::kKvmClocksource | x86::kKvmNopIoDelay | x86::kKvmClocksource2 | x86::kKvmPvEoi |
         x86::kKvmStealTime | x86::kKvmPvTlbFlush | x86::kKvmPvUnhalt | x86::kKvmPvSendIpi |
         x86::kKvmPollControl | x86::kKvmPvSchedYield | x86::kKvmClocksourceStable;
}

void KvmParavirt::reset() {
  wall_clock_ = system_time_ = pv_eoi_ = steal_time_ = 0;
  poll_control_ = 1;
  is_kicked_ = eoi_is_skippable_ = false;
}

std::optional<u64> KvmParavirt::read_msr(u32 index) const {
  switch (index) {
    case x86::kMsrKvmWallClock:
    case x86::kMsrKvmWallClockNew:
      return wall_clock_;
    case x86::kMsrKvmSystemTime:
    case x86::kMsrKvmSystemTimeNew:
      return system_time_;
    case x86::kMsrKvmPvEoiEn:
      return pv_eoi_;
    case x86::kMsrKvmStealTime:
      return steal_time_;
    case x86::kMsrKvmPollControl:
      return poll_control_;
    default:
      return std::nullopt;
  }
}

std::optional<bool> KvmParavirt::write_msr(u32 index, u64 value, u64 tsc_offset) {
  switch (index) {
    case x86::kMsrKvmWallClock:
    case x86::kMsrKvmWallClockNew:
      wall_clock_ = value;
      write_wall_clock(GuestPhys(value));
      return true;
    case x86::kMsrKvmSystemTime:
    case x86::kMsrKvmSystemTimeNew:
      system_time_ = value;
      if ((value & kEnable) != 0) write_system_time(GuestPhys(value & ~kEnable), tsc_offset);
      return true;
    case x86::kMsrKvmPvEoiEn:
      if ((value & 2) != 0) return false;  // reserved; the address is 4-byte aligned
      pv_eoi_ = value;
      eoi_is_skippable_ = false;
      return true;
    case x86::kMsrKvmStealTime:
      if ((value & kStealTimeReserved) != 0) return false;
      steal_time_ = value;
      if ((value & kEnable) != 0) write_steal_time(GuestPhys(value & ~u64{0x3f}));
      return true;
    case x86::kMsrKvmPollControl:
      if ((value & ~u64{1}) != 0) return false;
      poll_control_ = value;
      return true;
    default:
      return std::nullopt;
  }
}

// Nothing is stolen and no vCPU is ever reported as preempted: a guest that wants another vCPU's TLB flushed
// sends it an interrupt, which the PV TLB flush protocol allows (cpuid.rst, KVM_FEATURE_PV_TLB_FLUSH).
void KvmParavirt::write_steal_time(GuestPhys address) { memory_.write_value(address, StealTime{}); }

void KvmParavirt::write_wall_clock(GuestPhys address) {
  // The wall clock at machine time zero. The version is odd while an update is under way.
  const WallClock clock{
      .version = 2, .seconds = static_cast<u32>(inputs_.boot_wall_clock_seconds()), .nanoseconds = 0};
  memory_.write_value(address, clock);
}

void KvmParavirt::write_system_time(GuestPhys address, u64 tsc_offset) {
  ClockPage page;
  clock_version_ += 2;
  page.version = clock_version_;
  // Both from one reading: two readings would put the vCPUs' clocks apart by what passes between them.
  const u64 tsc = inputs_.tsc();
  page.tsc_timestamp = tsc + tsc_offset;
  page.system_time = static_cast<u64>(u128{tsc} * 1'000'000'000 / inputs_.tsc_hz());
  // nanoseconds = (tsc << shift) * mul >> 32, with mul as large as 32 bits hold.
  u64 hz = inputs_.tsc_hz();
  i8 shift = 0;
  while (hz <= 1'000'000'000) {
    hz <<= 1;
    ++shift;
  }
  while (hz > 2'000'000'000) {
    hz >>= 1;
    --shift;
  }
  page.tsc_shift = shift;
  page.tsc_to_system_mul = static_cast<u32>((u64{1'000'000'000} << 32) / hz);
  page.flags = kTscStable;
  memory_.write_value(address, page);
}

// PV end-of-interrupt, msr.rst MSR_KVM_PV_EOI_EN: bit 0 of the guest's word set by us means "no EOI needed";
// the guest clears it instead of writing EOI. Nothing is looked at before an interrupt waits, so that polling
// more often than needed (after loading a state) changes nothing.
void KvmParavirt::before_interrupt() {
  if (!eoi_is_skippable_ || !lapic_.has_request()) return;
  const GuestPhys address(pv_eoi_ & ~u64{3});
  const std::optional<u32> word = memory_.read_value<u32>(address);
  eoi_is_skippable_ = false;
  if (!word) return;
  if ((*word & 1) == 0) {
    lapic_.eoi();
  } else {
    memory_.write_value<u32>(address, *word & ~1u);
  }
}

// While an offer stands the word belongs to the interrupt it was made for: what was acknowledged now is an
// ExtINT, which has no EOI.
void KvmParavirt::after_acknowledge() {
  if (eoi_is_skippable_ || (pv_eoi_ & kEnable) == 0 || !lapic_.can_skip_eoi()) return;
  const GuestPhys address(pv_eoi_ & ~u64{3});
  const std::optional<u32> word = memory_.read_value<u32>(address);
  if (!word) return;
  memory_.write_value<u32>(address, *word | 1);
  eoi_is_skippable_ = true;
}

u64 KvmParavirt::hypercall(u64 number, std::span<const u64, 4> arguments) {
  switch (number) {
    case kHypercallKick:
    case kHypercallSchedYield:
      return 0;
    case kHypercallSendIpi:
      return send_ipi(arguments);
    default:
      return kNoSuchHypercall;
  }
}

// hypercalls.rst KVM_HC_SEND_IPI: a 128-bit map of APIC ids from the lowest one, and the ICR value.
u64 KvmParavirt::send_ipi(std::span<const u64, 4> arguments) {
  u64 delivered = 0;
  for (u32 i = 0; i < 128; ++i) {
    if (!bit(arguments[i / 64], i % 64)) continue;
    const InterruptMessage message{.destination = static_cast<u32>(arguments[2]) + i,
                                   .is_logical = false,
                                   .mode = static_cast<DeliveryMode>(bits(arguments[3], 8, 3)),
                                   .vector = static_cast<u8>(arguments[3])};
    if (bus_.deliver(message)) ++delivered;
  }
  return delivered;
}

void KvmParavirt::visit_state(StateVisitor& visitor) {
  visitor.field("wall_clock", wall_clock_);
  visitor.field("system_time", system_time_);
  visitor.field("pv_eoi", pv_eoi_);
  visitor.field("steal_time", steal_time_);
  visitor.field("poll_control", poll_control_);
  visitor.field("clock_version", clock_version_);
  visitor.field("is_kicked", is_kicked_);
  visitor.field("eoi_is_skippable", eoi_is_skippable_);
}

}  // namespace doppel
