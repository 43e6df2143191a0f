// Splitting an option's value and reading its parts.
#include "base/option_list.h"

#include <algorithm>

#include "base/parse_number.h"

namespace doppel {
namespace {

// The parts between single commas; ",," is a comma that belongs to its part.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += ',';
      ++i;
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

std::string names_of(std::span<const OptionKey> keys) {
  std::string names;
  for (const OptionKey& key : keys) {
    names += names.empty() ? "" : ", ";
    names += key.name;
  }
  return names;
}

}  // namespace

Result<OptionList> OptionList::parse(std::string_view option, std::string_view subject, std::string_view text,
                                     std::span<const OptionKey> keys) {
  OptionList list(option);
  std::vector<std::string> parts = split(text);
  list.subject_ = std::move(parts.front());
  if (list.subject_.empty()) return fail_usage("{} '{}': begins without {}", option, text, subject);
  for (const std::string& part : std::span(parts).subspan(1)) TRY_VOID(list.add(part, keys));
  return list;
}

Result<void> OptionList::add(std::string_view part, std::span<const OptionKey> keys) {
  const std::size_t equals = part.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == part.size()) {
    return fail_usage("{}: '{}' is not of the form key=value", option_, part);
  }
  const std::string_view name = part.substr(0, equals);
  const auto key = std::ranges::find(keys, name, &OptionKey::name);
  if (key == keys.end()) return fail_usage("{}: no key '{}'; it knows {}", option_, name, names_of(keys));
  if (!key->may_repeat && has(name)) return fail_usage("{}: {} is given twice", option_, name);
  entries_.push_back({std::string(name), std::string(part.substr(equals + 1))});
  return {};
}

const std::string* OptionList::find(std::string_view key) const {
  const auto entry = std::ranges::find(entries_, key, &Entry::key);
  return entry == entries_.end() ? nullptr : &entry->value;
}

std::unexpected<Error> OptionList::fail_value(std::string_view key, std::string_view value,
                                              std::string_view wanted) const {
  return fail_usage("{}: {}={}: give {}", option_, key, value, wanted);
}

std::string OptionList::text(std::string_view key, std::string_view otherwise) const {
  const std::string* value = find(key);
  return value == nullptr ? std::string(otherwise) : *value;
}

std::vector<std::string> OptionList::all(std::string_view key) const {
  std::vector<std::string> values;
  for (const Entry& entry : entries_) {
    if (entry.key == key) values.push_back(entry.value);
  }
  return values;
}

Result<bool> OptionList::flag(std::string_view key, bool otherwise) const {
  return choice<bool>(key, otherwise, {{"on", true}, {"off", false}});
}

Result<u64> OptionList::number(std::string_view key, u64 otherwise, u64 least, u64 most) const {
  const std::string* value = find(key);
  if (value == nullptr) return otherwise;
  const Result<u64> number = parse_count(key, *value);
  if (number && *number >= least && *number <= most) return *number;
  return fail_value(key, *value, fmt::format("a number from {} to {}", least, most));
}

Result<u64> OptionList::size(std::string_view key, u64 otherwise) const {
  const std::string* value = find(key);
  if (value == nullptr) return otherwise;
  const Result<u64> size = parse_size(*value);
  if (size) return *size;
  return fail_value(key, *value, "a size in bytes, or with K, M or G");
}

}  // namespace doppel
