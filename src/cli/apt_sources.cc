// Reading sources.list(5) in both of its formats.
#include "cli/apt_sources.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>

namespace doppel {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAptFolder = "/etc/apt";
constexpr std::array<std::string_view, 5> kSettings = {"Acquire::http::Proxy", "Acquire::https::Proxy",
                                                       "Acquire::Check-Date", "Acquire::Check-Valid-Until",
                                                       "Acquire::Languages"};

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// "[arch=amd64 signed-by=/key] uri ..." without its options; those are returned.
std::string take_options(std::string& text) {
  const std::size_t begin = text.find('[');
  const std::size_t end = text.find(']');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  const std::string options = text.substr(begin + 1, end - begin - 1);
  text.erase(begin, end - begin + 1);
  return options;
}

std::string option_value(const std::string& options, const std::string& name) {
  for (const std::string& word : split_words(options)) {
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  }
  return {};
}

using Fields = std::map<std::string, std::string>;

void add_stanza(const Fields& fields, std::vector<AptSource>& result) {
  const auto field = [&](const char* name) {
    const auto found = fields.find(name);
    return found == fields.end() ? std::string() : found->second;
  };
  const std::vector<std::string> types = split_words(field("types"));
  if (std::ranges::find(types, "deb") == types.end() || field("enabled").starts_with("no")) return;
  for (const std::string& uri : split_words(field("uris"))) {
    for (const std::string& suite : split_words(field("suites"))) {
      std::vector<std::string> components = split_words(field("components"));
      if (!components.empty()) result.push_back({uri, suite, std::move(components), field("signed-by")});
    }
  }
}

std::string lower(std::string text) {
  for (char& character : text) {
    if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + ('a' - 'A'));
  }
  return text;
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

void append(std::vector<AptSource>& all, std::vector<AptSource> more) {
  all.insert(all.end(), more.begin(), more.end());
}

std::string file_text(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::string AptSource::line() const {
  std::string result = "deb " + uri + " " + suite;
  for (const std::string& component : components) result += " " + component;
  return result;
}

std::vector<AptSource> parse_apt_list(std::string_view text) {
  std::vector<AptSource> result;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    const std::string options = take_options(line);
    const std::vector<std::string> words = split_words(line);
    if (words.size() < 4 || words[0] != "deb") continue;
    result.push_back(
        {words[1], words[2], {words.begin() + 3, words.end()}, option_value(options, "signed-by")});
  }
  return result;
}

std::vector<AptSource> parse_apt_stanzas(std::string_view text) {
  std::vector<AptSource> result;
  std::istringstream stream{std::string(text)};
  Fields fields;
  std::string name;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("#")) continue;
    if (trimmed(line).empty()) {
      add_stanza(fields, result);
      fields.clear();
      name.clear();
    } else if (line.front() == ' ' || line.front() == '\t') {
      if (!name.empty()) fields[name] += " " + trimmed(line);
    } else if (const std::size_t colon = line.find(':'); colon != std::string::npos) {
      name = lower(line.substr(0, colon));
      fields[name] = trimmed(line.substr(colon + 1));
    }
  }
  add_stanza(fields, result);
  return result;
}

std::vector<AptSource> sources_of_suite(const std::vector<AptSource>& all, std::string_view suite) {
  std::vector<AptSource> result;
  for (const AptSource& source : all) {
    const bool is_suite = source.suite == suite || source.suite == fmt::format("{}-updates", suite) ||
                          source.suite == fmt::format("{}-security", suite);
    // Other archives use Debian's suite names too, but not its keys.
    const bool is_debian =
        source.signed_by.empty() || source.signed_by.find("debian-archive") != std::string::npos;
    if (is_suite && is_debian) result.push_back(source);
  }
  return result;
}

std::vector<AptSource> read_host_apt_sources() {
  std::vector<AptSource> all = parse_apt_list(file_text(fs::path(kAptFolder) / "sources.list"));
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(fs::path(kAptFolder) / "sources.list.d", error), end;
       !error && entry != end; entry.increment(error)) {
    files.push_back(entry->path());
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    if (file.extension() == ".list") append(all, parse_apt_list(file_text(file)));
    if (file.extension() == ".sources") append(all, parse_apt_stanzas(file_text(file)));
  }
  return all;
}

std::vector<std::string> apt_settings(std::string_view dump) {
  std::vector<std::string> result;
  std::istringstream stream{std::string(dump)};
  for (std::string line; std::getline(stream, line);) {
    const std::string name = line.substr(0, line.find(' '));
    const bool is_list = name.ends_with("::") &&
                         std::ranges::find(kSettings, name.substr(0, name.size() - 2)) != kSettings.end();
    const bool is_wanted = is_list || std::ranges::find(kSettings, name) != kSettings.end();
    if (is_wanted && line.find("\"\"") == std::string::npos) result.push_back(line);
  }
  return result;
}

}  // namespace doppel
