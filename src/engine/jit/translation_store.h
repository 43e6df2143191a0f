// TranslationStore: translations kept in a file, for machines that run the same guest code again.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "engine/jit/relocation.h"
#include "engine/jit/translator.h"

namespace doppel {

namespace jit {
// Stands for what translation depends on beside the guest's code and this program; `code`: where the code
// memory is.
u64 variant_of(const TranslationOptions& options, const Thunks& thunks, const u8* code);
}  // namespace jit

// Shared by the translators of a machine's vCPUs; any thread. A file holds what translators of this very
// build made; one of another build, or a damaged one, counts as empty. Host code comes from it, so it must
// belong to this user and be writable by nobody else. What was added is written, beside the old file and then
// in its place, when the store goes.
class TranslationStore {
 public:
  // The file need not exist, but its folder must. At most `most_bytes` of translations are kept.
  static Result<std::shared_ptr<TranslationStore>> open(const std::string& path, u64 most_bytes = 512 * kMiB);
  ~TranslationStore();
  TranslationStore(const TranslationStore&) = delete;
  TranslationStore& operator=(const TranslationStore&) = delete;

  // A translation whose block starts at position 0 of a code memory.
  struct Stored {
    jit::Block block;
    std::span<const jit::Relocation> relocations;
    std::span<const u8> code;
  };
  // `page`: guest code from the block's first byte to the end of its page, or as much of it as a block can
  // have. `variant` stands for everything else that translation depends on.
  std::optional<Stored> find(u64 variant, const jit::BlockKey& key, std::span<const u8> page) const;
  void add(u64 variant, const Stored& stored, std::span<const u8> page);

  u64 count() const { return records_.size(); }

 private:
  struct Header;
  struct Record;
  struct Slot;

  explicit TranslationStore(std::string path, u64 most_bytes);
  Result<void> load();
  bool is_intact() const;
  Result<void> begin_file();
  Result<void> append(std::span<const u8> bytes);
  Result<void> flush();
  Result<void> write(std::span<const u8> bytes);
  Result<void> save();

  std::string path_;
  u64 most_bytes_;
  const u64 build_;
  // The file as it was opened.
  std::span<const u8> file_;
  std::span<const Record> records_;
  std::span<const Slot> slots_;
  std::span<const u8> data_;
  // What was added; its data is in the new file already.
  std::mutex mutex_;
  UniqueFd new_file_;
  std::string new_path_;
  std::vector<Record> added_;
  std::unordered_set<u64> known_;  // identities of what was added
  u64 new_data_bytes_ = 0;
  std::vector<u8> buffer_;   // not written yet
  bool has_failed_ = false;  // nothing more is added
};

}  // namespace doppel
