// What virtio-balloon's driver and device exchange. virtio 1.2 section 5.5.
#pragma once

#include "base/types.h"

namespace doppel::virtio_balloon {

inline constexpr u64 kFeatureMustTellHost = 1 << 0;
inline constexpr u64 kFeatureStatistics = 1 << 1;
inline constexpr u64 kFeatureDeflateOnOom = 1 << 2;
inline constexpr u64 kFeatureFreePageHint = 1 << 3;
inline constexpr u64 kFeaturePagePoison = 1 << 4;
inline constexpr u64 kFeatureReporting = 1 << 5;

// 5.5.4; pages are always 4 KiB.
struct Config {
  u32 target_pages = 0;
  u32 actual_pages = 0;  // the driver's
  u32 free_page_hint_command = 0;
  u32 poison_value = 0;  // the driver's
};
static_assert(sizeof(Config) == 16);

// 5.5.6.3: tag and value, packed.
inline constexpr u64 kStatisticSize = 10;

// 5.5.6.6: command ids of free page hinting that mean something else.
inline constexpr u32 kHintStop = 0;
inline constexpr u32 kHintDone = 1;
inline constexpr u32 kFirstHintCommand = 2;

}  // namespace doppel::virtio_balloon
