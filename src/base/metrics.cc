// Grouping and printing metrics.
#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace doppel {
namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;

// Escapes of label values and help lines.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char character : text) {
    if (character == '\\' || character == '"') result += '\\';
    if (character == '\n')
      result += "\\n";
    else
      result += character;
  }
  return result;
}

std::string label_text(const std::vector<MetricLabel>& labels) {
  if (labels.empty()) return {};
  std::string text;
  for (const MetricLabel& label : labels)
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "{" : ",", label.key, escaped(label.value));
  return text + "}";
}

std::string full_name(const MetricKind& kind) {
  const char* unit = kind.unit == MetricUnit::kNanoseconds ? "_seconds" : "";
  return fmt::format("doppel_{}{}_total", kind.name, unit);
}

std::string value_text(const MetricList::Metric& metric) {
  if (metric.kind.unit == MetricUnit::kCount) return fmt::format("{}", metric.value);
  return fmt::format("{}.{:09}", metric.value / kNanosecondsPerSecond, metric.value % kNanosecondsPerSecond);
}

}  // namespace

void MetricList::add(const MetricKind& kind, u64 value, std::initializer_list<MetricLabel> labels) {
  Metric metric{kind, common_, value};
  metric.labels.insert(metric.labels.end(), labels.begin(), labels.end());
  all_.push_back(std::move(metric));
}

// Kinds in the order in which they came first.
std::vector<std::vector<const MetricList::Metric*>> MetricList::by_kind() const {
  std::vector<std::vector<const Metric*>> groups;
  for (const Metric& metric : all_) {
    const auto same = [&](const std::vector<const Metric*>& group) {
      return group.front()->kind.name == metric.kind.name;
    };
    auto found = std::ranges::find_if(groups, same);
    if (found == groups.end()) found = groups.insert(groups.end(), std::vector<const Metric*>());
    found->push_back(&metric);
  }
  return groups;
}

std::string MetricList::prometheus_text() const {
  std::string text;
  for (const std::vector<const Metric*>& group : by_kind()) {
    const std::string name = full_name(group.front()->kind);
    text += fmt::format("# HELP {} {}\n# TYPE {} counter\n", name, escaped(group.front()->kind.help), name);
    for (const Metric* metric : group)
      text += fmt::format("{}{} {}\n", name, label_text(metric->labels), value_text(*metric));
  }
  return text;
}

std::string MetricList::table_text() const {
  std::string text;
  for (std::vector<const Metric*>& group : by_kind()) {
    std::erase_if(group, [](const Metric* metric) { return metric->value == 0; });
    if (group.empty()) continue;
    std::ranges::sort(group, [](const Metric* left, const Metric* right) {
      return left->value != right->value ? left->value > right->value : left < right;
    });
    const MetricKind& kind = group.front()->kind;
    const bool is_time = kind.unit == MetricUnit::kNanoseconds;
    text += fmt::format("{}{}: {}\n", kind.name, is_time ? " (s)" : "", kind.help);
    for (const Metric* metric : group) {
      std::string names;
      for (const MetricLabel& label : metric->labels)
        names += fmt::format("{}{} {}", names.empty() ? "" : ", ", label.key, label.value);
      text += fmt::format("  {:>20}  {}\n", value_text(*metric), names);
    }
  }
  return text;
}

}  // namespace doppel
