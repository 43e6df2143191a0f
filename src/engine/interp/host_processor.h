// What differs between processors of one architecture and shows in instructions that run as themselves.
#pragma once

namespace doppel {

// The processor that runs this process is AMD's or Hygon's.
bool host_is_amd();

// OF after a rotation of a register by an immediate other than one, which is undefined: Intel's processors
// leave it as it was, AMD's compute it as they do for a count in CL. Measured.
bool host_keeps_overflow_in_rotations();

}  // namespace doppel
