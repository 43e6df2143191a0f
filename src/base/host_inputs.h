// HostInputs: time and entropy from the host; the Inputs of an ordinary machine.
#pragma once

#include "base/inputs.h"

namespace doppel {

// Machine time is the host's monotonic clock since creation; the TSC counts with it, `tsc_hz` times a second.
class HostInputs final : public Inputs {
 public:
  explicit HostInputs(u64 tsc_hz = 1'000'000'000);
  Nanoseconds now() override;
  u64 boot_wall_clock_seconds() override { return wall_clock_seconds_; }
  u64 tsc() override { return static_cast<u64>(static_cast<u128>(now().count()) * tsc_hz_ / 1'000'000'000); }
  u64 tsc_hz() const override { return tsc_hz_; }
  void entropy(std::span<u8> out) override;

 private:
  u64 tsc_hz_;
  u64 start_nanoseconds_;
  u64 wall_clock_seconds_;
};

}  // namespace doppel
