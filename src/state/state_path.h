// StatePath: where in the tree of named groups a visitor stands.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "base/verify.h"

namespace doppel {

// The names of the open groups, as one string with slashes. Owned by the visitor that reports places to
// people.
class StatePath {
 public:
  void enter(std::string_view name) {
    lengths_.push_back(path_.size());
    path_ += name;
    path_ += '/';
  }
  void leave() {
    VERIFY(!lengths_.empty());
    path_.resize(lengths_.back());
    lengths_.pop_back();
  }
  bool is_root() const { return lengths_.empty(); }
  // Empty, or ends with a slash.
  const std::string& prefix() const { return path_; }

 private:
  std::string path_;
  std::vector<std::size_t> lengths_;  // of path_ before each open group
};

}  // namespace doppel
