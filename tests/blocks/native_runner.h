// NativeRunner: blocks on the host's own processor.
#pragma once

#include <memory>

#include "tests/blocks/block.h"
#include "tests/differential/native_backend.h"

namespace doppel::blocks {

// Owns the fixed-address mappings of a worker process, as NativeBackend does.
class NativeRunner {
 public:
  static Result<std::unique_ptr<NativeRunner>> create();

  void place(const Block& block);
  void run(const Start& start, Ending& out);

 private:
  explicit NativeRunner(std::unique_ptr<NativeBackend> mappings) : mappings_(std::move(mappings)) {}

  std::unique_ptr<NativeBackend> mappings_;
  u64 end_ = 0;
  bool is_compat_ = false;
  std::array<u8, kCodeSize> code_;
};

}  // namespace doppel::blocks
