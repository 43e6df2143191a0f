// Copies of large, mostly empty files, and results that appear whole or not at all.
#pragma once

#include <filesystem>
#include <utility>
#include <vector>

#include "base/result.h"

namespace doppel {

// Copies the contents: by reference where the file system can, else without the holes. Replaces `to`.
Result<void> copy_sparse(const std::filesystem::path& from, const std::filesystem::path& to);

// Copies under temporary names beside the targets, then renames all of them. Nothing is left when it fails.
Result<void> deliver(
    const std::vector<std::pair<std::filesystem::path, std::filesystem::path>>& sources_and_targets);

// A new directory that is removed with everything in it.
class WorkDirectory {
 public:
  // Beside what will be renamed out of it, so that the rename stays within one file system.
  static Result<WorkDirectory> create(const std::filesystem::path& parent);
  WorkDirectory(WorkDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkDirectory& operator=(WorkDirectory&&) = delete;
  ~WorkDirectory();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit WorkDirectory(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace doppel
