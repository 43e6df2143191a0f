// Making observers.
#include "machine/engine_observation.h"

namespace doppel {

Result<std::unique_ptr<EngineObservation>> EngineObservation::create(const ObservationConfig& config,
                                                                     unsigned cpus) {
  std::unique_ptr<EngineObservation> all(new EngineObservation());
  if (!config.symbols.empty()) all->symbols_ = TRY(SymbolTable::read(config.symbols));
  if (!config.dump.empty()) {
    const DumpRequest request = TRY(parse_dump_request(config.dump));
    all->dump_ = TRY(TranslationDump::create(request));
  }
  if (config.has_perf_map) all->perf_map_ = TRY(PerfMap::create(PerfMap::default_path(), all->symbols_));
  if (config.is_profiled) all->profiler_ = std::make_unique<EngineProfiler>(cpus);
  return all;
}

std::vector<TranslationObserver*> EngineObservation::translation_observers() const {
  std::vector<TranslationObserver*> observers;
  if (dump_) observers.push_back(dump_.get());
  if (perf_map_) observers.push_back(perf_map_.get());
  return observers;
}

}  // namespace doppel
