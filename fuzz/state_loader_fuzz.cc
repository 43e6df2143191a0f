// Fuzzes StateLoader: what it accepts must survive saving and loading.
#include <cstdlib>

#include "state/state_buffer.h"
#include "state_sample.h"

namespace {

// Saving, loading and saving again yields the same bytes. The input itself may differ: flags other than 0 and
// 1 and stored zero pages are accepted but saved in their plain form.
bool survives_round_trip(doppel::fuzz::StateSample& sample) {
  doppel::StateSaver first;
  sample.visit_state(first);
  const auto saved = first.take();
  doppel::StateLoader loader(saved);
  sample.visit_state(loader);
  doppel::StateSaver second;
  sample.visit_state(second);
  return loader.finish() && second.take() == saved;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static doppel::fuzz::StateSample sample;
  doppel::StateLoader loader({data, size});
  sample.visit_state(loader);
  const auto result = loader.finish();
  if (sample.queue.size() > doppel::fuzz::kMaxQueue) std::abort();
  if (result && !survives_round_trip(sample)) std::abort();
  if (!result && result.error().message.empty()) std::abort();
  return 0;
}
