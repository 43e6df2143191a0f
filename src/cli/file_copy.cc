// Reflinks, holes and renames.
#include "cli/file_copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/unique_fd.h"

namespace doppel {
namespace {

namespace fs = std::filesystem;

bool copy_range(int from, int to, off_t begin, off_t end) {
  off_t source = begin;
  off_t target = begin;
  while (source < end) {
    const auto length = static_cast<std::size_t>(end - source);
    const ssize_t copied = ::copy_file_range(from, &source, to, &target, length, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied <= 0) return false;
  }
  return true;
}

bool copy_data(int from, int to, off_t size) {
  if (::ftruncate(to, size) != 0) return false;
  for (off_t position = 0; position < size;) {
    const off_t begin = ::lseek(from, position, SEEK_DATA);
    if (begin < 0) return errno == ENXIO;  // only a hole is left
    const off_t end = ::lseek(from, begin, SEEK_HOLE);
    if (end < 0 || !copy_range(from, to, begin, end)) return false;
    position = end;
  }
  return true;
}

fs::path temporary_name(const fs::path& target) {
  return fs::path(fmt::format("{}.partial-{}", target.string(), ::getpid()));
}

}  // namespace

Result<void> copy_sparse(const fs::path& from, const fs::path& to) {
  const UniqueFd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (!source.is_valid() || ::fstat(source.get(), &status) != 0) {
    return fail("cannot read {}: {}", from.string(), std::strerror(errno));
  }
  const UniqueFd target(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!target.is_valid()) return fail("cannot write {}: {}", to.string(), std::strerror(errno));
  if (::ioctl(target.get(), FICLONE, source.get()) == 0) return {};
  if (copy_data(source.get(), target.get(), status.st_size)) return {};
  return fail("cannot copy {} to {}: {}", from.string(), to.string(), std::strerror(errno));
}

Result<void> deliver(const std::vector<std::pair<fs::path, fs::path>>& sources_and_targets) {
  std::error_code ignored;
  Result<void> result;
  for (const auto& [source, target] : sources_and_targets) {
    result = copy_sparse(source, temporary_name(target));
    if (!result) break;
  }
  for (const auto& [source, target] : sources_and_targets) {
    if (result && ::rename(temporary_name(target).c_str(), target.c_str()) != 0) {
      result = fail("cannot write {}: {}", target.string(), std::strerror(errno));
    }
    if (!result) fs::remove(temporary_name(target), ignored);
  }
  return result;
}

Result<WorkDirectory> WorkDirectory::create(const fs::path& parent) {
  std::error_code error;
  fs::create_directories(parent, error);
  std::string name = (parent / "work-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    return fail("cannot make a directory in {}: {}", parent.string(), std::strerror(errno));
  }
  return WorkDirectory(name);
}

WorkDirectory::~WorkDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

}  // namespace doppel
