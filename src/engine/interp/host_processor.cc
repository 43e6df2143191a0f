// Finding out what the host's processor does.
#include "engine/interp/host_processor.h"

#include <cpuid.h>

#include "base/types.h"

namespace doppel {
namespace {

bool read_is_amd() {
  u32 max_leaf = 0;
  u32 ebx = 0;
  u32 ecx = 0;
  u32 edx = 0;
  if (__get_cpuid(0, &max_leaf, &ebx, &ecx, &edx) == 0) return false;
  return ebx == signature_AMD_ebx || ebx == signature_HYGON_ebx;
}

// A rotation whose result would clear OF, with OF set before.
bool measure_rotation() {
  u32 value = 0;
  u32 flags = 0x7f;  // adding one overflows
  bool is_kept;
  asm("addb $1, %b[flags]\n\troll $2, %[value]"
      : [value] "+r"(value), [flags] "+q"(flags), "=@cco"(is_kept)
      :
      : "cc");
  return is_kept;
}

}  // namespace

bool host_is_amd() {
  static const bool kIsAmd = read_is_amd();
  return kIsAmd;
}

bool host_keeps_overflow_in_rotations() {
  static const bool kKeeps = measure_rotation();
  return kKeeps;
}

}  // namespace doppel
