// EngineObservation: what looks over the engines' shoulders, if anything does.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/symbol_table.h"
#include "engine/jit/dump.h"
#include "engine/jit/perf_map.h"
#include "machine/engine_profiler.h"

namespace doppel {

struct ObservationConfig {
  std::string dump;  // DumpRequest; empty: none
  bool has_perf_map = false;
  bool is_profiled = false;
  std::string symbols;  // file with the guest's functions; empty: none
};

// Owned by the machine, and outlives its vCPUs.
class EngineObservation {
 public:
  // Files that cannot be written or read are errors before anything runs.
  static Result<std::unique_ptr<EngineObservation>> create(const ObservationConfig& config, unsigned cpus);

  // Who is told of translated blocks.
  std::vector<TranslationObserver*> translation_observers() const;
  EngineProfiler* profiler() const { return profiler_.get(); }
  std::string profile_text() const { return profiler_ ? profiler_->text(symbols_) : std::string(); }

 private:
  EngineObservation() = default;

  SymbolTable symbols_;
  std::unique_ptr<TranslationDump> dump_;
  std::unique_ptr<PerfMap> perf_map_;
  std::unique_ptr<EngineProfiler> profiler_;
};

}  // namespace doppel
