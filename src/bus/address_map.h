// AddressMap: which device answers at which port or guest-physical address.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/inputs.h"
#include "base/metrics.h"
#include "base/result.h"
#include "bus/bus_device.h"

namespace doppel {

// One bus: non-overlapping ranges, each with a device. Reads outside every range return all ones, writes are
// dropped, as on a PC. An access that straddles two ranges is split into bytes. Called with the device lock
// held.
class AddressMap {
 public:
  // Ranges must not overlap; `size` is at least 1. `label` names the range in errors, and its device in
  // statistics: ranges with one label have one account, which stays when they go.
  Result<void> add(u64 base, u64 size, BusDevice& device, std::string label);
  void remove(u64 base);

  // `data` is 1 to 8 bytes.
  void read(u64 address, std::span<u8> data);
  void write(u64 address, std::span<const u8> data);

  // The last read() or write() at `address`, of `size` bytes, stands for this much of the host's time.
  void charge_read(u64 address, u64 size, Nanoseconds time) { account_of(address, size).read.time += time; }
  void charge_write(u64 address, u64 size, Nanoseconds time) { account_of(address, size).write.time += time; }

  u64 unclaimed_accesses() const { return nobody_.read.count + nobody_.write.count; }
  // Accesses and their time by label; `bus` names this one.
  void add_metrics(MetricList& list, std::string_view bus) const;

 private:
  struct Direction {
    u64 count = 0;
    Nanoseconds time{0};
  };
  struct Account {
    std::string label;
    Direction read = {};
    Direction write = {};
  };
  struct Range {
    u64 base;
    u64 size;
    BusDevice* device;
    Account* account;
  };
  Range* find(u64 address, u64 size);
  Account& account_of(std::string label);
  Account& account_of(u64 address, u64 size);

  std::vector<Range> ranges_;     // sorted by base
  std::deque<Account> accounts_;  // stay in place
  Account nobody_ = {"nobody"};   // accesses outside every range
};

}  // namespace doppel
