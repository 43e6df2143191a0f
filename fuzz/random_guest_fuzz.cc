// Fuzzes the whole machine with made-up guests: no state, no code and no access may end or hang the monitor.
#include "tests/hostile/hostile_machine.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  doppel::hostile::HostileMachine guest;
  doppel::hostile::Choices choices(std::span(data, size));
  guest.run_random(choices, 4'000);
  if (choices.percent(25)) guest.check_state_survives();
  return 0;
}
