// LinkMonitor: hears from the kernel when a network interface goes up, down or away.
#pragma once

#include <functional>
#include <memory>

#include "base/event_loop.h"

namespace doppel {

// A routing netlink socket that looks at one interface of the network namespace it was made in. Owned by a
// back end; called back on the event loop.
class LinkMonitor {
 public:
  // `callback` gets whether the interface is up, at each message about it.
  static Result<std::unique_ptr<LinkMonitor>> create(EventLoop& loop, unsigned interface_index,
                                                     std::function<void(bool)> callback);

 private:
  LinkMonitor(UniqueFd socket, unsigned interface_index, std::function<void(bool)> callback);
  void read_messages();

  UniqueFd socket_;
  unsigned interface_index_;
  std::function<void(bool)> callback_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace doppel
