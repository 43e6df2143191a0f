// Lines of a perf map.
#include "engine/jit/perf_map.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

namespace doppel {

std::string PerfMap::default_path() { return fmt::format("/tmp/perf-{}.map", ::getpid()); }

Result<std::unique_ptr<PerfMap>> PerfMap::create(const std::string& path, const SymbolTable& symbols) {
  // Others may write that folder: what is in the way is removed, never followed.
  ::unlink(path.c_str());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return fail("--jit-perf-map: {}: {}", path, std::strerror(errno));
  File file(::fdopen(fd, "w"));
  if (!file) {
    ::close(fd);
    return fail("--jit-perf-map: {}: {}", path, std::strerror(errno));
  }
  return std::unique_ptr<PerfMap>(new PerfMap(symbols, std::move(file)));
}

void PerfMap::translated(const TranslatedBlock& block) {
  const std::string name = symbols_.name_of(block.rip);
  const std::string_view side = block.mode == kUser ? "user" : "kernel";
  const std::string line = fmt::format("{:x} {:x} guest {} {}\n", reinterpret_cast<u64>(block.host_address),
                                       block.host.size(), side, name);
  const std::lock_guard lock(mutex_);
  std::fwrite(line.data(), 1, line.size(), file_.get());
  std::fflush(file_.get());
}

}  // namespace doppel
