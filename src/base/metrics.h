// Metrics: counters that components list by name, and their two readable forms.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace doppel {

enum class MetricUnit : u8 { kCount, kNanoseconds };

// What is counted. `name` is in the manner of Prometheus, without the program's name in front and without
// the "_total" that counters end in: "exits", "exit_time" (in seconds there). One constant for each.
struct MetricKind {
  std::string_view name;
  std::string_view help;  // one line
  MetricUnit unit = MetricUnit::kCount;
};

struct MetricLabel {
  std::string_view key;
  std::string value;
  bool operator==(const MetricLabel&) const = default;
};

// A list of counters with their labels, filled by components one after the other. Values only ever grow
// while a machine exists. Owned by whoever asks; used on one thread.
class MetricList {
 public:
  struct Metric {
    MetricKind kind;
    std::vector<MetricLabel> labels;
    u64 value;
  };

  // Labels that everything added from here on carries first; replaces those set before.
  void set_common(std::vector<MetricLabel> labels) { common_ = std::move(labels); }
  void add(const MetricKind& kind, u64 value, std::initializer_list<MetricLabel> labels = {});

  const std::vector<Metric>& all() const { return all_; }

  // Prometheus text format, version 0.0.4: every kind once with its help and type.
  std::string prometheus_text() const;
  // For a person: a section a kind, the largest value first; zeros are left out.
  std::string table_text() const;

 private:
  std::vector<std::vector<const Metric*>> by_kind() const;

  std::vector<MetricLabel> common_;
  std::vector<Metric> all_;
};

}  // namespace doppel
