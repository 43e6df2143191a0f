// What virtio-console's driver and device exchange. virtio 1.2 section 5.3.
#pragma once

#include "base/types.h"

namespace doppel::virtio_console {

inline constexpr u64 kFeatureSize = 1 << 0;
inline constexpr u64 kFeatureMultiport = 1 << 1;
inline constexpr u64 kFeatureEmergencyWrite = 1 << 2;

// 5.3.4.
struct Config {
  u16 columns = 0;
  u16 rows = 0;
  u32 max_ports = 0;
  u32 emergency_write = 0;
};
static_assert(sizeof(Config) == 12);
inline constexpr u64 kEmergencyWriteOffset = 8;

// 5.3.6.2.
enum class Event : u16 {
  kDeviceReady = 0,
  kPortAdd = 1,
  kPortRemove = 2,
  kPortReady = 3,
  kConsolePort = 4,
  kResize = 5,
  kPortOpen = 6,
  kPortName = 7,
};

struct Control {
  u32 port;
  Event event;
  u16 value;
};
static_assert(sizeof(Control) == 8);

struct Resize {
  Control control;
  u16 columns;
  u16 rows;
};
static_assert(sizeof(Resize) == 12);

// 5.3.2: port 0, control, then the other ports; a receive and a transmit queue each.
inline constexpr unsigned kControlReceive = 2;
inline constexpr unsigned kControlTransmit = 3;
constexpr unsigned receive_queue(unsigned port) { return port == 0 ? 0 : 2 + 2 * port; }
constexpr unsigned transmit_queue(unsigned port) { return receive_queue(port) + 1; }

}  // namespace doppel::virtio_console
