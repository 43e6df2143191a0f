// TranslationObserver: who wants to see each block that is translated.
#pragma once

#include <span>

#include "engine/jit/profile_map.h"

namespace doppel {

// A block of guest code and what became of it; valid during the call.
struct TranslatedBlock {
  u64 rip;
  AccessMode mode;
  bool is_32bit;
  std::span<const u8> guest;
  std::span<const u8> host;
  const u8* host_address;                // where `host` runs
  u32 base;                              // position of its first byte
  u32 entry;                             // positions: the way in that looks for attention,
  u32 direct;                            // and the one that does not
  std::span<const jit::CodeMark> marks;  // by position
};

// Called on the threads of all vCPUs.
class TranslationObserver {
 public:
  virtual ~TranslationObserver() = default;
  virtual void translated(const TranslatedBlock& block) = 0;
};

}  // namespace doppel
