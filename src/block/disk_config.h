// DiskConfig: what the user asked for with one --disk option.
#pragma once

#include <array>
#include <string>

#include "base/option_list.h"
#include "base/types.h"

namespace doppel {

struct DiskConfig {
  std::string target;       // a file's path, or a URI beginning with "nbd"
  std::string id = {};      // for people and logs; empty: none
  std::string serial = {};  // at most kMaxSerial characters; what the guest reads; empty: the id
  bool is_read_only = false;
  bool is_direct = false;  // past the host's page cache
  u16 queues = 1;
  u64 bandwidth = 0;   // bytes a second; 0: no limit
  u64 operations = 0;  // a second; 0: no limit

  static constexpr std::size_t kMaxSerial = 20;
  static constexpr u16 kMaxQueues = 64;

  bool is_network() const;
};

// The keys of a disk's option: id, serial, readonly=on|off, direct=on|off, queues=N, bandwidth=SIZE, iops=N.
inline constexpr std::array kDiskKeys = {OptionKey{"id"},     OptionKey{"serial"}, OptionKey{"readonly"},
                                         OptionKey{"direct"}, OptionKey{"queues"}, OptionKey{"bandwidth"},
                                         OptionKey{"iops"}};

// The subject is a file or an nbd URI. Says nothing about whether it is there.
Result<DiskConfig> read_disk_options(const OptionList& options);

}  // namespace doppel
