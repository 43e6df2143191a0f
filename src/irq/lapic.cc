// Local APIC: accepting, prioritising and acknowledging interrupts.
#include "irq/lapic.h"

#include <utility>

#include "base/log.h"
#include "base/verify.h"
#include "irq/apic_bus.h"
#include "irq/interrupt_metrics.h"
#include "x86/msr.h"

namespace doppel {
namespace {

constexpr u8 priority_class(int vector) { return static_cast<u8>(vector & 0xf0); }

DeliveryMode lvt_mode(u32 entry) { return static_cast<DeliveryMode>(bits(entry, 8, 3)); }

}  // namespace

LocalApic::LocalApic(u32 id, ApicBus& bus, TimerQueue& timers, ApicCpu& cpu)
    : id_(id), bus_(bus), cpu_(cpu), timer_(timers, cpu, [this] { deliver_lvt(kLvtTimer); }) {
  for (unsigned i = 0; i < 2; ++i) {
    lint_lines_[i].apic = this;
    lint_lines_[i].index = i;
  }
  reset();
  bus.add(*this);
}

void LocalApic::reset() {
  apic_base_ = x86::kApicBaseDefault | x86::kApicBaseEnable | (id_ == 0 ? x86::kApicBaseBsp : 0);
  lint_asserted_ = {};
  reset_registers();
}

// SDM 3A 10.4.7.1 and, for INIT, 10.4.7.3: everything but the mode in IA32_APIC_BASE and the pins.
void LocalApic::reset_registers() {
  timer_.reset();
  task_priority_ = 0;
  // SDM 3A 10.12.10.2: the x2APIC logical id is derived from the APIC id.
  logical_destination_ = is_x2apic() ? ((id_ >> 4) << 16) | (1u << (id_ & 15)) : 0;
  destination_format_ = 0xffffffff;
  spurious_ = 0xff;
  in_service_.clear();
  trigger_mode_.clear();
  requested_.clear();
  pending_errors_ = 0;
  error_status_ = 0;
  command_ = 0;
  lvt_.fill(kLvtMasked);
  has_external_message_ = has_returned_ = false;
}

void LocalApic::configure_virtual_wire() {
  apic_base_ |= x86::kApicBaseBsp;
  spurious_ |= kSpuriousSoftwareEnable;
  lvt_[kLvtLint0] = static_cast<u32>(DeliveryMode::kExtInt) << 8;
  lvt_[kLvtLint1] = static_cast<u32>(DeliveryMode::kNmi) << 8;
}

bool LocalApic::is_enabled() const { return (apic_base_ & x86::kApicBaseEnable) != 0; }
bool LocalApic::is_x2apic() const { return (apic_base_ & x86::kApicBaseX2Apic) != 0; }

// SDM 3A 10.8.3.1.
u8 LocalApic::processor_priority() const {
  const u8 in_service = in_service_.is_empty() ? u8{0} : priority_class(in_service_.highest());
  return priority_class(task_priority_) >= in_service ? task_priority_ : in_service;
}

// SDM 3A 10.4.3: with the APIC globally disabled LINT0 is the INTR pin.
bool LocalApic::has_external() const {
  if (external_source_ == nullptr) return false;
  if (has_external_message_) return true;
  if (!lint_asserted_[0]) return false;
  if (!is_enabled()) return true;
  const u32 entry = lvt_[kLvtLint0];
  return (entry & kLvtMasked) == 0 && lvt_mode(entry) == DeliveryMode::kExtInt;
}

bool LocalApic::has_interrupt() const {
  if (has_returned_ || has_external()) return true;
  return !requested_.is_empty() &&
         priority_class(requested_.highest()) > priority_class(processor_priority());
}

std::optional<u8> LocalApic::acknowledge() {
  if (std::exchange(has_returned_, false)) return returned_;
  if (has_external()) {
    has_external_message_ = false;
    return external_source_->acknowledge();
  }
  if (requested_.is_empty()) return std::nullopt;
  const u8 vector = static_cast<u8>(requested_.highest());
  if (priority_class(vector) <= priority_class(processor_priority())) return std::nullopt;
  requested_.erase(vector);
  in_service_.insert(vector);
  return vector;
}

void LocalApic::return_acknowledged(u8 vector) {
  has_returned_ = true;
  returned_ = vector;
  cpu_.interrupt_changed();
}

// SDM 3A 10.8.5.
void LocalApic::eoi() {
  if (in_service_.is_empty()) return;
  const u8 vector = static_cast<u8>(in_service_.highest());
  in_service_.erase(vector);
  if (trigger_mode_.contains(vector)) {
    for (const unsigned lint : {0u, 1u}) {
      u32& entry = lvt_[kLvtLint0 + lint];
      if ((entry & kLvtRemoteIrr) == 0 || static_cast<u8>(entry) != vector) continue;
      entry &= ~kLvtRemoteIrr;
      deliver_lint(lint, false);
    }
    bus_.broadcast_eoi(vector);
  }
  if (has_interrupt()) cpu_.interrupt_changed();
}

bool LocalApic::can_skip_eoi() const {
  if (!requested_.is_empty() || in_service_.size() != 1) return false;
  return !trigger_mode_.contains(static_cast<u8>(in_service_.highest()));
}

void LocalApic::set_task_priority(u8 cr8) {
  task_priority_ = static_cast<u8>(cr8 << 4);
  cpu_.interrupt_changed();
}

bool LocalApic::matches(const InterruptMessage& message) const {
  if (!is_enabled()) return false;
  const u32 destination = message.destination;
  if (destination == kApicBroadcast) return true;
  if (message.is_logical) return matches_logical(destination);
  // SDM 3A 10.6.2.1: FFH is the broadcast of the 8-bit modes.
  return is_x2apic() ? destination == id_ : destination == 0xff || destination == (id_ & 0xff);
}

// SDM 3A 10.6.2.2 (flat and cluster model) and 10.12.10.1 (x2APIC).
bool LocalApic::matches_logical(u32 destination) const {
  if (is_x2apic()) {
    const bool same_cluster = (destination >> 16) == (logical_destination_ >> 16);
    return same_cluster && (destination & logical_destination_ & 0xffff) != 0;
  }
  if (destination > 0xff) return false;
  const u32 logical_id = logical_destination_ >> 24;
  if ((destination_format_ >> 28) == 0xf) return (destination & logical_id) != 0;
  const bool same_cluster = (destination >> 4) == (logical_id >> 4) || (destination >> 4) == 0xf;
  return same_cluster && (destination & logical_id & 0xf) != 0;
}

bool LocalApic::accept(const InterruptMessage& message) {
  if (!is_enabled()) return false;
  // SDM 3A 10.4.7.2: a software-disabled APIC responds to INIT, NMI, SMI and start-up messages only.
  switch (message.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      if (!is_software_enabled()) return false;
      return accept_vector(message.vector, message.is_level);
    case DeliveryMode::kExtInt:
      if (!is_software_enabled()) return false;
      has_external_message_ = true;
      cpu_.interrupt_changed();
      return true;
    case DeliveryMode::kNmi:
      cpu_.receive_nmi();
      return true;
    case DeliveryMode::kInit:
      // SDM 3A 10.6.1: INIT level de-assert is ignored by all processors since the Pentium 4.
      if (message.is_level && !message.is_assert) return true;
      reset_registers();
      cpu_.receive_init();
      return true;
    case DeliveryMode::kStartUp:
      cpu_.receive_start_up(message.vector);
      return true;
    case DeliveryMode::kSmi:
      break;
  }
  LOG_GUEST("lapic {}: delivery mode {} ignored", id_, static_cast<unsigned>(message.mode));
  return false;
}

// SDM 3A 10.8.4.
bool LocalApic::accept_vector(u8 vector, bool is_level) {
  if (vector < kFirstApicVector) {
    raise_error(kErrorReceiveIllegalVector);
    return false;
  }
  requested_.insert(vector);
  if (is_level) {
    trigger_mode_.insert(vector);
  } else {
    trigger_mode_.erase(vector);
  }
  cpu_.interrupt_changed();
  return true;
}

void LocalApic::set_lint(unsigned index, bool is_asserted) {
  VERIFY(index < 2);
  if (lint_asserted_[index] == is_asserted) return;
  lint_asserted_[index] = is_asserted;
  if (is_enabled()) {
    deliver_lint(index, is_asserted);
  } else if (index == 1) {
    if (is_asserted) cpu_.receive_nmi();
  } else {
    cpu_.interrupt_changed();
  }
}

InterruptLine& LocalApic::lint(unsigned index) {
  VERIFY(index < 2);
  return lint_lines_[index];
}

// Acts on a pin's state through its LVT entry; `is_rising` tells an edge from a level that is looked at
// again.
void LocalApic::deliver_lint(unsigned index, bool is_rising) {
  u32& entry = lvt_[kLvtLint0 + index];
  if ((entry & kLvtMasked) != 0) return;
  if (lvt_mode(entry) == DeliveryMode::kExtInt) {
    cpu_.interrupt_changed();
    return;
  }
  // SDM 3A 10.5.1: only fixed delivery can be level-triggered, and LINT1 is always an edge.
  const bool is_level = index == 0 && lvt_mode(entry) == DeliveryMode::kFixed && (entry & kLvtLevel) != 0;
  if (!is_level) {
    if (is_rising) deliver_lvt(static_cast<LvtIndex>(kLvtLint0 + index));
    return;
  }
  if (!lint_asserted_[index] || (entry & kLvtRemoteIrr) != 0) return;
  if (accept_vector(static_cast<u8>(entry), true)) entry |= kLvtRemoteIrr;
}

// An edge-like event of a local source.
void LocalApic::deliver_lvt(LvtIndex index) {
  const u32 entry = lvt_[index];
  if ((entry & kLvtMasked) != 0 || !is_enabled()) return;
  ++local_events_[index];
  const bool has_mode = index != kLvtTimer && index != kLvtError;
  InterruptMessage message;
  message.vector = static_cast<u8>(entry);
  message.mode = has_mode ? lvt_mode(entry) : DeliveryMode::kFixed;
  accept(message);
}

// SDM 3A 10.5.3: an error is also an interrupt. Only a new error raises it, so an illegal vector in the error
// entry itself is reported once.
void LocalApic::raise_error(u32 error_bits) {
  if ((pending_errors_ & error_bits) == error_bits) return;
  pending_errors_ |= error_bits;
  deliver_lvt(kLvtError);
}

void LocalApic::add_metrics(MetricList& list) const {
  static constexpr std::array<const char*, kLvtCount> kNames = {
      "APIC timer", "thermal sensor", "performance counter", "LINT0", "LINT1", "APIC error"};
  for (unsigned i = 0; i < kLvtCount; ++i) {
    if (local_events_[i] != 0) list.add(kInterruptRequests, local_events_[i], {{"source", kNames[i]}});
  }
  list.add(kInterruptRequests, sent_messages_, {{"source", "interprocessor"}});
}

void LocalApic::visit_state(StateVisitor& visitor) {
  visitor.begin("lapic");
  visitor.field("apic_base", apic_base_);
  visitor.field("task_priority", task_priority_);
  visitor.field("logical_destination", logical_destination_);
  visitor.field("destination_format", destination_format_);
  visitor.field("spurious", spurious_);
  in_service_.visit_state(visitor, "in_service");
  trigger_mode_.visit_state(visitor, "trigger_mode");
  requested_.visit_state(visitor, "requested");
  visitor.field("pending_errors", pending_errors_);
  visitor.field("error_status", error_status_);
  visitor.field("command", command_);
  visitor.field("lvt", lvt_);
  visitor.field("lint0", lint_asserted_[0]);
  visitor.field("lint1", lint_asserted_[1]);
  visitor.field("has_external_message", has_external_message_);
  visitor.field("has_returned", has_returned_);
  visitor.field("returned", returned_);
  timer_.visit_state(visitor);
  visitor.end();
  if (visitor.is_loading() && is_x2apic() && !is_enabled()) visitor.reject("x2APIC mode of a disabled APIC");
}

}  // namespace doppel
