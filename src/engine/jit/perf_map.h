// PerfMap: names of translated code for `perf report`.
#pragma once

#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "base/symbol_table.h"
#include "engine/jit/profile_observer.h"

namespace doppel {

// /tmp/perf-PID.map: a line a block with its place in the host's memory and the guest's name for it. Blocks
// that take the place of dropped ones get lines of their own; perf takes the last.
class PerfMap final : public TranslationObserver {
 public:
  // The file is replaced; `symbols` outlives this.
  static Result<std::unique_ptr<PerfMap>> create(const std::string& path, const SymbolTable& symbols);
  static std::string default_path();
  void translated(const TranslatedBlock& block) override;

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Close>;
  PerfMap(const SymbolTable& symbols, File file) : symbols_(symbols), file_(std::move(file)) {}

  const SymbolTable& symbols_;
  std::mutex mutex_;
  File file_;  // guarded by mutex_
};

}  // namespace doppel
