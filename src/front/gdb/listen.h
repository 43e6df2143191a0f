// Listening sockets by address text.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace doppel::gdb {

struct ListeningSocket {
  UniqueFd fd;
  std::string address;  // as given, with the port that was chosen
  std::string path;     // of a unix socket, to be removed in the end
};

// "tcp:ADDRESS:PORT" with a numeric IPv4 address or localhost, or "unix:PATH".
Result<ListeningSocket> listen_at(std::string_view address);

}  // namespace doppel::gdb
