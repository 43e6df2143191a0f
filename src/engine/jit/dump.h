// TranslationDump: guest and host code of translated blocks, for a person.
#pragma once

#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "engine/jit/profile_observer.h"

namespace doppel {

// FILE[,rip=ADDRESS][,count=N].
struct DumpRequest {
  std::string path;
  std::optional<u64> rip;  // only blocks with the instruction at this address
  u64 count = ~u64{0};     // at most
};
Result<DumpRequest> parse_dump_request(const std::string& text);

// Writes each block as it is made: every guest instruction, and below it the host's that stand for it.
class TranslationDump final : public TranslationObserver {
 public:
  // The file is replaced.
  static Result<std::unique_ptr<TranslationDump>> create(const DumpRequest& request);
  void translated(const TranslatedBlock& block) override;

  static std::string text_of(const TranslatedBlock& block);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Close>;
  TranslationDump(DumpRequest request, File file) : request_(std::move(request)), file_(std::move(file)) {}

  std::mutex mutex_;
  DumpRequest request_;  // guarded by mutex_: count goes down
  File file_;            // guarded by mutex_
};

}  // namespace doppel
