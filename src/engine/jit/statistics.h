// What a translator counts.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"

namespace doppel::jit {

struct Statistics {
  u64 entries = 0;
  u64 interpreted = 0;
  u64 links = 0;
  u64 misses = 0;
  u64 finds = 0;
  u64 drops = 0;
  u64 clears = 0;
  u64 translations = 0;
  u64 copies = 0;  // of blocks, for other addresses
  u64 reused = 0;  // from the translation cache

  std::vector<std::pair<std::string_view, u64>> list(u64 code_bytes) const {
    return {{"jit_entries", entries},     {"jit_interpreted", interpreted},   {"jit_links", links},
            {"jit_tlb_misses", misses},   {"jit_jump_misses", finds},         {"jit_blocks_dropped", drops},
            {"jit_cache_clears", clears}, {"jit_translations", translations}, {"jit_copies", copies},
            {"jit_reused", reused},       {"jit_code_bytes", code_bytes}};
  }
};

}  // namespace doppel::jit
