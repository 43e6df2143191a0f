// hostile_states SEED [COUNT]: runs random states by seed and says how they ended.
#include <cstdio>
#include <cstdlib>

#include "tests/hostile/hostile_machine.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: hostile_states SEED [COUNT]\n");
    return 2;
  }
  const doppel::u64 first = std::strtoull(argv[1], nullptr, 0);
  const doppel::u64 count = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 1;
  doppel::u64 instructions = 0;
  for (doppel::u64 seed = first; seed < first + count; ++seed) {
    // Said before it runs: the last line names the state that went wrong.
    std::fprintf(stderr, "\rseed %#llx ", static_cast<unsigned long long>(seed));
    doppel::hostile::HostileMachine guest;
    doppel::hostile::Choices choices(seed);
    guest.run_random(choices, 20'000);
    guest.check_state_survives();
    instructions += guest.machine().vcpu().instructions_retired();
  }
  std::fprintf(stderr, "\n%llu states, %llu instructions\n", static_cast<unsigned long long>(count),
               static_cast<unsigned long long>(instructions));
  return 0;
}
