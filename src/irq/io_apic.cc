// I/O APIC registers and message sending. 82093AA data sheet, section 3.
#include "irq/io_apic.h"

#include "base/log.h"
#include "base/verify.h"
#include "irq/apic_bus.h"
#include "irq/interrupt_metrics.h"

namespace doppel {
namespace {

constexpr u64 kSelectOffset = 0x00;
constexpr u64 kWindowOffset = 0x10;
constexpr u64 kEoiOffset = 0x40;

constexpr u8 kRegisterId = 0;
constexpr u8 kRegisterVersion = 1;
constexpr u8 kRegisterArbitration = 2;
constexpr u8 kRegisterEntries = 0x10;
constexpr u32 kVersion = ((IoApic::kPinCount - 1) << 16) | 0x20;

// Redirection entry bits. Bits 49..55 are destination bits 8..14, as with MSIs.
constexpr u64 kRemoteIrr = 1u << 14;
constexpr u64 kLevel = 1u << 15;
constexpr u64 kMasked = 1u << 16;
constexpr u64 kReadOnly = kRemoteIrr | (1u << 12);
constexpr u64 kWritable = 0xfffe'0000'0001'afff & ~kReadOnly;

}  // namespace

IoApic::IoApic(ApicBus& bus) : bus_(bus) {
  for (unsigned i = 0; i < kPinCount; ++i) {
    pins_[i].owner = this;
    pins_[i].index = i;
  }
  reset();
  bus.add(*this);
}

void IoApic::reset() {
  select_ = 0;
  id_ = 0;
  entries_.fill(kMasked);
  asserted_ = 0;
}

InterruptLine& IoApic::pin(unsigned index) {
  VERIFY(index < kPinCount);
  return pins_[index];
}

void IoApic::set_pin(unsigned index, bool is_asserted) {
  const u32 mask = 1u << index;
  if (((asserted_ & mask) != 0) == is_asserted) return;
  asserted_ ^= mask;
  if (!is_asserted) return;
  const u64 entry = entries_[index];
  if ((entry & kLevel) != 0) {
    send_level(index);
  } else if ((entry & kMasked) == 0) {
    // 82093AA 3.2.4: an edge on a masked pin is lost.
    send(index);
  }
}

// Sends a level-triggered interrupt unless it is masked, gone or still being serviced.
void IoApic::send_level(unsigned index) {
  u64& entry = entries_[index];
  if ((entry & (kLevel | kMasked | kRemoteIrr)) != kLevel || !bit(asserted_, index)) return;
  if (!send(index)) return;
  // 82093AA 3.2.4: set when a local APIC accepted it; only the fixed modes end with an EOI.
  const u64 mode = bits(entry, 8, 3);
  if (mode <= static_cast<u64>(DeliveryMode::kLowestPriority)) entry |= kRemoteIrr;
}

bool IoApic::send(unsigned index) {
  const u64 entry = entries_[index];
  ++sent_[index];
  InterruptMessage message;
  message.is_logical = bit(entry, 11);
  const u32 destination = static_cast<u32>(bits(entry, 56, 8) | (bits(entry, 49, 7) << 8));
  message.destination = widen_destination(destination, message.is_logical);
  message.vector = static_cast<u8>(entry);
  message.mode = static_cast<DeliveryMode>(bits(entry, 8, 3));
  message.is_level = (entry & kLevel) != 0;
  return bus_.deliver(message);
}

void IoApic::add_metrics(MetricList& list) const {
  for (unsigned i = 0; i < kPinCount; ++i) {
    if (sent_[i] != 0) list.add(kInterruptRequests, sent_[i], {{"source", "pin " + std::to_string(i)}});
  }
}

void IoApic::end_of_interrupt(u8 vector) {
  for (unsigned i = 0; i < kPinCount; ++i) {
    if ((entries_[i] & kRemoteIrr) == 0 || static_cast<u8>(entries_[i]) != vector) continue;
    entries_[i] &= ~kRemoteIrr;
    send_level(i);
  }
}

u32 IoApic::read_selected() const {
  switch (select_) {
    case kRegisterId:
    case kRegisterArbitration:
      return u32{id_} << 24;
    case kRegisterVersion:
      return kVersion;
    default:
      break;
  }
  const unsigned index = (select_ - kRegisterEntries) / 2u;
  if (select_ < kRegisterEntries || index >= kPinCount) return 0;
  return static_cast<u32>(entries_[index] >> (32 * (select_ & 1)));
}

void IoApic::write_selected(u32 value) {
  if (select_ == kRegisterId) {
    id_ = (value >> 24) & 0xf;
    return;
  }
  const unsigned index = (select_ - kRegisterEntries) / 2u;
  if (select_ < kRegisterEntries || index >= kPinCount) {
    LOG_GUEST("ioapic: write to register {:#x}", select_);
    return;
  }
  write_entry(index, (select_ & 1) != 0, value);
}

void IoApic::write_entry(unsigned index, bool is_high_half, u32 value) {
  u64& entry = entries_[index];
  const unsigned shift = is_high_half ? 32 : 0;
  const u64 writable = kWritable & (u64{0xffffffff} << shift);
  entry = (entry & ~writable) | ((u64{value} << shift) & writable);
  // An edge entry has no remote IRR: guests switch to edge and back to force an end of interrupt.
  if ((entry & kLevel) == 0) entry &= ~kRemoteIrr;
  send_level(index);
}

void IoApic::read(u64 offset, std::span<u8> data) {
  u32 value = 0;
  if (offset == kSelectOffset) value = select_;
  if (offset == kWindowOffset) value = read_selected();
  store_le(data, value);
}

void IoApic::write(u64 offset, std::span<const u8> data) {
  const u32 value = static_cast<u32>(load_le(data));
  if (offset == kSelectOffset) {
    select_ = static_cast<u8>(value);
  } else if (offset == kWindowOffset && data.size() == 4) {
    write_selected(value);
  } else if (offset == kEoiOffset) {
    end_of_interrupt(static_cast<u8>(value));
  }
}

void IoApic::visit_state(StateVisitor& visitor) {
  visitor.begin("ioapic");
  visitor.field("select", select_);
  visitor.field("id", id_);
  visitor.field("entries", entries_);
  visitor.field("asserted", asserted_);
  visitor.end();
}

}  // namespace doppel
