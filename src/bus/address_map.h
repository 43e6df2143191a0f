// AddressMap: which device answers at which port or guest-physical address.
#pragma once

#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/result.h"
#include "bus/bus_device.h"

namespace doppel {

// One bus: non-overlapping ranges, each with a device. Reads outside every range return all ones, writes are
// dropped, as on a PC. An access that straddles two ranges is split into bytes. Called with the device lock
// held.
class AddressMap {
 public:
  // Ranges must not overlap; `size` is at least 1. `label` names the range in errors and statistics.
  Result<void> add(u64 base, u64 size, BusDevice& device, std::string label);
  void remove(u64 base);

  // `data` is 1 to 8 bytes.
  void read(u64 address, std::span<u8> data);
  void write(u64 address, std::span<const u8> data);

  u64 unclaimed_accesses() const { return unclaimed_accesses_; }
  // Accesses by label; `bus` names this one.
  void add_metrics(MetricList& list, std::string_view bus) const;

 private:
  struct Range {
    u64 base;
    u64 size;
    BusDevice* device;
    std::string label;
    u64 reads = 0;
    u64 writes = 0;
  };
  Range* find(u64 address, u64 size);

  std::vector<Range> ranges_;  // sorted by base
  u64 unclaimed_accesses_ = 0;
};

}  // namespace doppel
