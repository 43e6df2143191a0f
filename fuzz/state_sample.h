// A component with a field of every kind, for fuzzing state files and making their seeds.
#pragma once

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "memory/guest_memory.h"
#include "state/state_visitor.h"

namespace doppel::fuzz {

inline constexpr std::size_t kMaxQueue = 64;

// What a machine's state looks like to a loader: numbers, groups, blobs, RAM.
struct StateSample {
  u64 number = 1;
  u16 small = 2;
  bool flag = true;
  std::array<u8, 16> table = {};
  std::vector<u8> queue = {1, 2, 3};
  std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(GuestMemory::kMinSize));

  void visit_state(StateVisitor& visitor) {
    visitor.begin("machine");
    visitor.begin("device");
    visitor.field("number", number);
    visitor.field("small", small);
    visitor.field("flag", flag);
    visitor.field("table", table);
    visitor.blob("queue", queue, kMaxQueue);
    if (small > 100) visitor.reject("small is too large");
    visitor.end();
    memory->visit_state(visitor);
    visitor.end();
  }
};

}  // namespace doppel::fuzz
