// OptionList: one command-line value of the form `SUBJECT,key=value,key=value`.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace doppel {

// A key that an option knows; most may be given once.
struct OptionKey {
  std::string_view name;
  bool may_repeat = false;
};

// What a value of a key with fixed values stands for.
template <class T>
struct OptionChoice {
  std::string_view name;
  T value;
};

// The parts of one option's value, split at commas; two commas stand for one inside a part. Made and used up
// by whoever parses that option. Every error is a usage error of one line that names the option and the part.
class OptionList {
 public:
  // `option` is its name for messages, such as "--disk"; `subject` says what comes first, such as "a file".
  static Result<OptionList> parse(std::string_view option, std::string_view subject, std::string_view text,
                                  std::span<const OptionKey> keys);

  // What comes before the first comma; not empty.
  const std::string& subject() const { return subject_; }

  bool has(std::string_view key) const { return find(key) != nullptr; }
  // As given, or `otherwise` when it was not; given values are never empty.
  std::string text(std::string_view key, std::string_view otherwise = {}) const;
  // All values of a key that may repeat, in order.
  std::vector<std::string> all(std::string_view key) const;
  // "on" or "off".
  Result<bool> flag(std::string_view key, bool otherwise) const;
  Result<u64> number(std::string_view key, u64 otherwise, u64 least, u64 most) const;
  // Bytes, with K, M or G.
  Result<u64> size(std::string_view key, u64 otherwise) const;

  template <class T, std::size_t N>
  Result<T> choice(std::string_view key, T otherwise, const OptionChoice<T> (&choices)[N]) const {
    const std::string* value = find(key);
    if (value == nullptr) return otherwise;
    std::string names;
    for (const OptionChoice<T>& candidate : choices) {
      if (*value == candidate.name) return candidate.value;
      names += names.empty() ? "" : " or ";
      names += candidate.name;
    }
    return fail_value(key, *value, names);
  }

 private:
  struct Entry {
    std::string key;
    std::string value;
  };

  explicit OptionList(std::string_view option) : option_(option) {}
  Result<void> add(std::string_view part, std::span<const OptionKey> keys);
  const std::string* find(std::string_view key) const;
  std::unexpected<Error> fail_value(std::string_view key, std::string_view value,
                                    std::string_view wanted) const;

  std::string option_;
  std::string subject_;
  std::vector<Entry> entries_;
};

}  // namespace doppel
