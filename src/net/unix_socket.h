// Unix stream sockets of the host, by path.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace doppel {

// Makes `path` a listening socket that does not block. A socket there at which nobody listens is replaced.
// `option` names the option for the error's one line; `mode` is what the umask leaves to others.
Result<UniqueFd> listen_unix(std::string_view option, const std::string& path, mode_t mode = 0777);

// Connects without waiting; not valid, with errno set, when that does not work at once.
UniqueFd connect_unix(const std::string& path);

// Takes the next connection; not valid when none waits. It does not block.
UniqueFd accept_unix(int listener);

// False when the path is too long for a socket's address.
bool is_unix_path(std::string_view path);

}  // namespace doppel
