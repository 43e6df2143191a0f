// Local APIC: the registers, shared by the xAPIC page and the x2APIC MSRs.
#include "base/log.h"
#include "irq/apic_bus.h"
#include "irq/lapic.h"

namespace doppel {
namespace {

// Bits a write may change, by entry. SDM 3A figures 10-8 and 10-9.
constexpr std::array<u32, kLvtCount> kLvtWritable = {
    0x000700ff,  // timer: vector, mask, mode
    0x000107ff,  // thermal: vector, delivery mode, mask
    0x000107ff,  // performance counters
    0x0001a7ff,  // LINT0: also polarity and trigger mode
    0x0001a7ff,  // LINT1
    0x000100ff,  // error: vector, mask
};

}  // namespace

std::optional<u32> LocalApic::read_register(u32 offset) {
  if (offset >= kApicInService && offset < kApicTriggerMode) return in_service_.word((offset >> 4) & 7);
  if (offset >= kApicTriggerMode && offset < kApicRequest) return trigger_mode_.word((offset >> 4) & 7);
  if (offset >= kApicRequest && offset < kApicVectorSetsEnd) return requested_.word((offset >> 4) & 7);
  if (offset >= kApicLvtTimer && offset <= kApicLvtError) return lvt_[(offset - kApicLvtTimer) >> 4];
  switch (offset) {
    case kApicId:
      return is_x2apic() ? id_ : id_ << 24;
    case kApicVersion:
      return kApicVersionValue;
    case kApicTaskPriority:
      return task_priority_;
    case kApicArbitrationPriority:
    case kApicProcessorPriority:
      return processor_priority();
    case kApicRemoteRead:
      return 0;
    case kApicLogicalDestination:
      return logical_destination_;
    case kApicDestinationFormat:
      return destination_format_;
    case kApicSpurious:
      return spurious_;
    case kApicErrorStatus:
      return error_status_;
    case kApicCommandLow:
      return static_cast<u32>(command_);
    case kApicCommandHigh:
      return static_cast<u32>(command_ >> 32);
    case kApicInitialCount:
      return timer_.initial_count();
    case kApicCurrentCount:
      return timer_.current_count();
    case kApicDivide:
      return timer_.divide();
    case kApicEoi:  // write-only: reads give 0 in xAPIC mode
      return 0;
    default:
      return std::nullopt;
  }
}

// False when there is no such register; writes to read-only ones are dropped.
bool LocalApic::write_register(u32 offset, u32 value) {
  if (offset >= kApicLvtTimer && offset <= kApicLvtError) {
    write_lvt(static_cast<LvtIndex>((offset - kApicLvtTimer) >> 4), value);
    return true;
  }
  switch (offset) {
    case kApicTaskPriority:
      task_priority_ = static_cast<u8>(value);
      cpu_.interrupt_changed();
      return true;
    case kApicEoi:
      eoi();
      return true;
    case kApicLogicalDestination:
      logical_destination_ = value & 0xff000000;
      return true;
    case kApicDestinationFormat:
      destination_format_ = value | 0x0fffffff;
      return true;
    case kApicSpurious:
      write_spurious(value);
      return true;
    case kApicErrorStatus:
      // SDM 3A 10.5.3: a write of any value shows what was collected since the last one.
      error_status_ = pending_errors_;
      pending_errors_ = 0;
      return true;
    case kApicCommandLow:
      write_command((command_ & 0xffffffff00000000) | value);
      return true;
    case kApicCommandHigh:
      command_ = (u64{value & 0xff000000} << 32) | static_cast<u32>(command_);
      return true;
    case kApicInitialCount:
      timer_.set_initial_count(value);
      return true;
    case kApicDivide:
      timer_.set_divide(value);
      return true;
    default:
      return read_register(offset).has_value();
  }
}

void LocalApic::write_spurious(u32 value) {
  spurious_ = value & kSpuriousWritable;
  if ((spurious_ & kSpuriousSoftwareEnable) != 0) return;
  // SDM 3A 10.4.7.2: disabling masks every LVT entry; requests already accepted stay.
  for (u32& entry : lvt_) entry |= kLvtMasked;
  cpu_.interrupt_changed();
}

void LocalApic::write_lvt(LvtIndex index, u32 value) {
  u32& entry = lvt_[index];
  entry = (value & kLvtWritable[index]) | (entry & kLvtReadOnly);
  if (!is_software_enabled()) entry |= kLvtMasked;
  if (index == kLvtTimer) timer_.set_mode(static_cast<LapicTimerMode>(bits(entry, 17, 2)));
  if (index != kLvtLint0 && index != kLvtLint1) return;
  // SDM 3A 10.5.1: remote IRR has a meaning for level-triggered fixed interrupts only.
  if ((entry & kLvtLevel) == 0) entry &= ~kLvtRemoteIrr;
  deliver_lint(index - kLvtLint0, false);
}

void LocalApic::write_command(u64 value) {
  ++sent_messages_;
  command_ = value & ~u64{kIcrDeliveryStatus};
  const DeliveryMode mode = static_cast<DeliveryMode>(bits(command_, 8, 3));
  const bool has_vector = mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority;
  if (has_vector && static_cast<u8>(command_) < kFirstApicVector) {
    raise_error(kErrorSendIllegalVector);
    return;
  }
  bus_.send_ipi(*this, command_);
}

void LocalApic::send_self(u8 vector) {
  ++sent_messages_;
  if (vector < kFirstApicVector) {
    raise_error(kErrorSendIllegalVector);
    return;
  }
  InterruptMessage message;
  message.vector = vector;
  accept(message);
}

// SDM 3A 10.4.1: accesses other than aligned 32-bit ones are undefined; here they read 0 and write nothing.
void LocalApic::read(u64 offset, std::span<u8> data) {
  if (!is_enabled() || is_x2apic()) {
    store_le(data, ~u64{0});
    return;
  }
  u32 value = 0;
  if (data.size() == 4 && offset % 16 == 0) {
    const std::optional<u32> content = read_register(static_cast<u32>(offset));
    if (!content) raise_error(kErrorIllegalRegister);
    value = content.value_or(0);
  }
  store_le(data, value);
}

void LocalApic::write(u64 offset, std::span<const u8> data) {
  if (!is_enabled() || is_x2apic() || data.size() != 4 || offset % 16 != 0) return;
  if (write_register(static_cast<u32>(offset), static_cast<u32>(load_le(data)))) return;
  LOG_GUEST("lapic {}: write to reserved register {:#x}", id_, offset);
  raise_error(kErrorIllegalRegister);
}

}  // namespace doppel
