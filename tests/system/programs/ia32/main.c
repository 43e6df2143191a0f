// A 32-bit process that checks what its processor and kernel do: `ia32 PARTNER`, a program built from
// partner.c. Prints `ia32: OK`, or the first thing that is wrong and ends with status 1.
#include "ia32.h"

#include <stdio.h>
#include <stdlib.h>

static const char* part_name;

void expect(const char* what, uint64_t found, uint64_t wanted) {
  if (found == wanted) return;
  printf("ia32: %s: %s: %#llx instead of %#llx\n", part_name, what, (unsigned long long)found,
         (unsigned long long)wanted);
  exit(1);
}

void stop_if(int failed, const char* what) {
  if (!failed) return;
  printf("ia32: %s: ", part_name);
  fflush(stdout);
  perror(what);
  exit(1);
}

int main(int count, char** words) {
  static const struct {
    const char* name;
    void (*run)(void);
  } parts[] = {
      {"integers", compute_integers},
      {"floats", compute_floats},
      {"segments", use_segments},
      {"threads", use_threads},
      {"faults", take_faults},
      {"kernel", call_the_kernel},
      {"jumps", jump_out},
      {"interrupts", be_interrupted},
      {"code", change_code},
      {"modes", change_modes},
  };
  if (count != 2) return 2;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    part_name = parts[i].name;
    parts[i].run();
  }
  part_name = "partner";
  talk_to(words[1]);
  printf("ia32: OK\n");
  return 0;
}
