// Range lookup and byte-splitting of straddling accesses.
#include "bus/address_map.h"

#include <algorithm>

#include "base/log.h"

namespace doppel {
namespace {

constexpr MetricKind kAccesses{"bus_accesses", "Accesses to ports and device memory by device."};

}  // namespace

Result<void> AddressMap::add(u64 base, u64 size, BusDevice& device, std::string label) {
  if (size == 0 || base + (size - 1) < base) return fail("bus range '{}' is empty or wraps", label);
  auto next = std::ranges::lower_bound(ranges_, base, {}, &Range::base);
  const bool hits_next = next != ranges_.end() && next->base <= base + (size - 1);
  const bool hits_previous =
      next != ranges_.begin() && std::prev(next)->base + (std::prev(next)->size - 1) >= base;
  if (hits_next || hits_previous) return fail("bus range '{}' at {:#x} overlaps another", label, base);
  ranges_.insert(next, Range{base, size, &device, std::move(label)});
  return {};
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
    ++range->reads;
    return range->device->read(address - range->base, data);
  }
  if (data.size() > 1) {
    for (std::size_t i = 0; i < data.size(); ++i) read(address + i, data.subspan(i, 1));
    return;
  }
  ++unclaimed_accesses_;
  LOG_GUEST("bus read at {:#x}: nobody answers", address);
  data[0] = 0xff;
}

void AddressMap::write(u64 address, std::span<const u8> data) {
  if (Range* range = find(address, data.size())) {
    ++range->writes;
    return range->device->write(address - range->base, data);
  }
  if (data.size() > 1) {
    for (std::size_t i = 0; i < data.size(); ++i) write(address + i, data.subspan(i, 1));
    return;
  }
  ++unclaimed_accesses_;
  LOG_GUEST("bus write at {:#x}: nobody answers", address);
}

void AddressMap::add_metrics(MetricList& list, std::string_view bus) const {
  const std::string name(bus);
  for (const Range& range : ranges_) {
    list.add(kAccesses, range.reads,
             {{"bus", name},
              {"device", range.label},
              {"address", fmt::format("{:#x}", range.base)},
              {"access", "read"}});
    list.add(kAccesses, range.writes,
             {{"bus", name},
              {"device", range.label},
              {"address", fmt::format("{:#x}", range.base)},
              {"access", "write"}});
  }
  list.add(kAccesses, unclaimed_accesses_,
           {{"bus", name}, {"device", "nobody"}, {"address", ""}, {"access", "any"}});
}

}  // namespace doppel
