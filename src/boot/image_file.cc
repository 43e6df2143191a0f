// Opens, checks and reads boot files.
#include "boot/image_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

namespace doppel {

namespace {

// The file may shrink or grow while it is read: the bytes that arrive count, up to `size`.
Result<std::vector<u8>> read_up_to(int fd, u64 size) {
  std::vector<u8> bytes(size);
  u64 done = 0;
  while (done < size) {
    const ssize_t count = ::read(fd, bytes.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("cannot be read: {}", std::strerror(errno));
    if (count == 0) break;
    done += static_cast<u64>(count);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace

Result<ImageFile> read_image_file(std::string_view role, const std::string& path, u64 max_size) {
  ImageFile file = {fmt::format("{} '{}'", role, path), {}};
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_valid()) return fail("{}: cannot be opened: {}", file.name, std::strerror(errno));
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0) return fail("{}: {}", file.name, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return fail("{}: is a directory; give a file", file.name);
  if (!S_ISREG(status.st_mode)) return fail("{}: is not a regular file", file.name);
  const u64 size = static_cast<u64>(status.st_size);
  if (size > max_size) {
    return fail(
        "{}: is {} MiB large, more than the {} MiB that can be loaded; give the guest more memory or a "
        "smaller file",
        file.name, size / kMiB, max_size / kMiB);
  }
  auto bytes = read_up_to(fd.get(), size);
  if (!bytes) return fail("{}: {}", file.name, bytes.error().message);
  if (bytes->empty()) return fail("{}: is empty", file.name);
  file.bytes = std::move(*bytes);
  return file;
}

}  // namespace doppel
