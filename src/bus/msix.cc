// The vector table, masking, and what became pending meanwhile.
#include "bus/msix.h"

#include <algorithm>
#include <bit>

#include "base/verify.h"

namespace doppel {
namespace {

constexpr u64 kPageSize = 4096;

// Message control, PCI 3.0 6.8.2.3.
constexpr u64 kControl = 2;  // offset in the capability
constexpr u16 kEnable = 1 << 15;
constexpr u16 kFunctionMask = 1 << 14;

// A table entry, PCI 3.0 6.8.2.6 to 6.8.2.9.
constexpr u64 kAddress = 0;
constexpr u64 kData = 8;
constexpr u64 kVectorControl = 12;
constexpr u8 kVectorMask = 1;
constexpr u8 kAddressAlignment = 3;  // bits 1:0 of the address read 0

constexpr u64 bar_size_of(u16 vectors) { return std::max(kPageSize, std::bit_ceil(2 * 16 * u64{vectors})); }

// The bits of an entry's byte that exist.
constexpr u8 entry_mask(u64 byte) {
  if (byte == kAddress) return static_cast<u8>(~kAddressAlignment);
  if (byte == kVectorControl) return kVectorMask;
  return byte > kVectorControl ? 0 : 0xff;
}

}  // namespace

Msix::Msix(PciFunction& function, unsigned bar, u16 vector_count)
    : function_(function),
      vector_count_(vector_count),
      bar_size_(bar_size_of(vector_count)),
      table_(kEntrySize * vector_count),
      pending_((vector_count + 7u) / 8) {
  VERIFY(vector_count >= 1 && vector_count <= kMaxVectors);
  function.add_bar(bar, BarKind::kMemory32, bar_size_, *this);
  std::array<u8, 10> body = {};
  const std::span fields(body);
  store_le(fields.subspan(0, 2), vector_count - u64{1});
  store_le(fields.subspan(2, 4), bar);  // the table: offset 0 in this BAR
  store_le(fields.subspan(6, 4), pending_start() | bar);
  const std::array<u8, 10> writable = {0, static_cast<u8>((kEnable | kFunctionMask) >> 8)};
  capability_ = function.add_capability(pci::kCapabilityMsix, body, writable, this);
  reset();
}

u16 Msix::control() const {
  return static_cast<u16>(load_le(function_.capability_bytes(capability_).subspan(kControl, 2)));
}

bool Msix::is_enabled() const { return (control() & kEnable) != 0; }

bool Msix::is_masked(u16 vector) const {
  return (control() & kFunctionMask) != 0 ||
         (table_[vector * kEntrySize + kVectorControl] & kVectorMask) != 0;
}

void Msix::raise(u16 vector) {
  if (vector >= vector_count() || !is_enabled()) return;
  if (is_masked(vector)) {
    pending_[vector / 8] |= static_cast<u8>(1 << vector % 8);
  } else {
    send(vector);
  }
}

void Msix::send(u16 vector) {
  pending_[vector / 8] &= static_cast<u8>(~(1 << vector % 8));
  const std::span<const u8> entry = std::span(table_).subspan(vector * kEntrySize, kEntrySize);
  function_.send_message(load_le(entry.subspan(kAddress, 8)),
                         static_cast<u32>(load_le(entry.subspan(kData, 4))));
}

void Msix::send_pending() {
  if (!is_enabled()) return;
  for (u16 vector = 0; vector < vector_count(); ++vector) {
    if (is_pending(vector) && !is_masked(vector)) send(vector);
  }
}

void Msix::written(u64, u64) { send_pending(); }

void Msix::read(u64 offset, std::span<u8> data) {
  for (u8& byte : data) {
    if (offset >= pending_start()) {
      const u64 index = offset - pending_start();
      byte = index < pending_.size() ? pending_[index] : 0;
    } else {
      byte = offset < table_.size() ? table_[offset] : 0;
    }
    ++offset;
  }
}

// Whole dwords by PCI 3.0 6.8.2; smaller pieces simply change their bytes.
void Msix::write(u64 offset, std::span<const u8> data) {
  bool is_unmasked = false;
  for (const u8 byte : data) {
    if (offset < table_.size()) {
      table_[offset] = byte & entry_mask(offset % kEntrySize);
      if (offset % kEntrySize == kVectorControl) is_unmasked = true;
    }
    ++offset;
  }
  if (is_unmasked) send_pending();
}

void Msix::reset() {
  std::ranges::fill(table_, 0);
  for (u64 at = kVectorControl; at < table_.size(); at += kEntrySize) table_[at] = kVectorMask;
  std::ranges::fill(pending_, 0);
}

void Msix::visit_state(StateVisitor& visitor) {
  visitor.begin("msix");
  visitor.bytes("table", table_);
  visitor.bytes("pending", pending_);
  visitor.end();
  if (!visitor.is_loading()) return;
  for (u64 i = 0; i < table_.size(); ++i) table_[i] &= entry_mask(i % kEntrySize);
  if (vector_count_ % 8 != 0) pending_.back() &= static_cast<u8>((1 << vector_count_ % 8) - 1);
}

}  // namespace doppel
