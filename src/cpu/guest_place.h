// GuestPlace: where in the guest a vCPU's thread is, for profiles.
#pragma once

#include "base/types.h"

namespace doppel {

struct GuestPlace {
  enum class Doing : u8 {
    kTranslated,   // the guest's instructions as host code
    kHelping,      // C++ code on behalf of translated code
    kInterpreting  // everything else an engine does: the interpreter, devices, translation
  };
  u64 rip = 0;
  bool is_user = false;
  Doing doing = Doing::kInterpreting;
};
inline constexpr unsigned kDoings = 3;

// An engine that can tell the guest's place from the host's while it runs. Called in a signal handler on the
// vCPU's thread: nothing is locked or allocated, and thread-local storage may be another's.
class GuestLocator {
 public:
  virtual ~GuestLocator() = default;
  virtual GuestPlace locate(u64 host_pc) const = 0;
};

}  // namespace doppel
