// NativeBackend: executes an instruction on the host's own processor, inside this process.
#pragma once

#include <memory>

#include "tests/differential/backend.h"

namespace doppel::differential {

// Owns the fixed-address mappings and the signal handlers of a worker process: at most one per process, and
// the process must be one that may die. A run without a fault costs no system call.
class NativeBackend : public Backend {
 public:
  static Result<std::unique_ptr<NativeBackend>> create();
  ~NativeBackend() override;

  void place(const Placement& placement) override;
  void run(const UserState& in, std::span<const u8> memory, Outcome& out) override;
  std::span<const u8> window() const override;

 private:
  NativeBackend() = default;
  void put_pad(u64 address, u8 index);

  Placement placement_;
};

// The read-only page's contents, the same on both sides.
void fill_read_only_page(std::span<u8> page);

}  // namespace doppel::differential
