// Range lookup and byte-splitting of straddling accesses.
#include "bus/address_map.h"

#include <algorithm>

#include "base/log.h"

namespace doppel {
namespace {

constexpr MetricKind kAccesses{"bus_accesses", "Accesses to ports and device memory by device."};
constexpr MetricKind kTime{
    "bus_access_time", "Host time in exits by the device that was accessed, from the exits that are timed.",
    MetricUnit::kNanoseconds};

}  // namespace

Result<void> AddressMap::add(u64 base, u64 size, BusDevice& device, std::string label) {
  if (size == 0 || base + (size - 1) < base) return fail("bus range '{}' is empty or wraps", label);
  auto next = std::ranges::lower_bound(ranges_, base, {}, &Range::base);
  const bool hits_next = next != ranges_.end() && next->base <= base + (size - 1);
  const bool hits_previous =
      next != ranges_.begin() && std::prev(next)->base + (std::prev(next)->size - 1) >= base;
  if (hits_next || hits_previous) return fail("bus range '{}' at {:#x} overlaps another", label, base);
  ranges_.insert(next, Range{base, size, &device, &account_of(std::move(label))});
  return {};
}

AddressMap::Account& AddressMap::account_of(std::string label) {
  const auto found = std::ranges::find(accounts_, label, &Account::label);
  return found != accounts_.end() ? *found : accounts_.emplace_back(Account{std::move(label)});
}

AddressMap::Account& AddressMap::account_of(u64 address, u64 size) {
  Range* range = find(address, size);
  // An access that straddles ranges is its first byte's.
  if (range == nullptr) range = find(address, 1);
  return range != nullptr ? *range->account : nobody_;
}

void AddressMap::remove(u64 base) {
  std::erase_if(ranges_, [base](const Range& range) { return range.base == base; });
}

AddressMap::Range* AddressMap::find(u64 address, u64 size) {
  auto next = std::ranges::upper_bound(ranges_, address, {}, &Range::base);
  if (next == ranges_.begin()) return nullptr;
  Range& range = *std::prev(next);
  const u64 offset = address - range.base;
  return offset < range.size && size <= range.size - offset ? &range : nullptr;
}

void AddressMap::read(u64 address, std::span<u8> data) {
  if (Range* range = find(address, data.size())) {
    ++range->account->read.count;
    return range->device->read(address - range->base, data);
  }
  if (data.size() > 1) {
    for (std::size_t i = 0; i < data.size(); ++i) read(address + i, data.subspan(i, 1));
    return;
  }
  ++nobody_.read.count;
  LOG_GUEST("bus read at {:#x}: nobody answers", address);
  data[0] = 0xff;
}

void AddressMap::write(u64 address, std::span<const u8> data) {
  if (Range* range = find(address, data.size())) {
    ++range->account->write.count;
    return range->device->write(address - range->base, data);
  }
  if (data.size() > 1) {
    for (std::size_t i = 0; i < data.size(); ++i) write(address + i, data.subspan(i, 1));
    return;
  }
  ++nobody_.write.count;
  LOG_GUEST("bus write at {:#x}: nobody answers", address);
}

void AddressMap::add_metrics(MetricList& list, std::string_view bus) const {
  const auto add = [&](const Account& account, std::string_view access, const Direction& direction) {
    const std::string name(bus);
    const std::string word(access);
    list.add(kAccesses, direction.count, {{"bus", name}, {"device", account.label}, {"access", word}});
    list.add(kTime, static_cast<u64>(direction.time.count()),
             {{"bus", name}, {"device", account.label}, {"access", word}});
  };
  for (const Account& account : accounts_) {
    add(account, "read", account.read);
    add(account, "write", account.write);
  }
  add(nobody_, "read", nobody_.read);
  add(nobody_, "write", nobody_.write);
}

}  // namespace doppel
