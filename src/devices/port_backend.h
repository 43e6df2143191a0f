// PortBackend: what stands behind a console port on the host when it can come, go and be full.
#pragma once

#include "devices/console.h"

namespace doppel {

// Owned by the console, which it tells through VirtioConsole::set_host_open(), ::input() and ::output_room().
// Called with the device lock held.
class PortBackend : public CharacterSink {
 public:
  // False: what the guest writes has to wait, until output_room() is called.
  virtual bool has_room() const = 0;
  // The guest was told of an opening or closing, or forgot everything.
  virtual void guest_informed() = 0;
};

}  // namespace doppel
