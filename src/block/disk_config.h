// DiskConfig: what the user asked for with one --disk option.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace doppel {

enum class DiskTransport : u8 { kPci, kMmio };
enum class DiskRing : u8 { kSplit, kPacked };

struct DiskConfig {
  std::string target;       // a file's path, or a URI beginning with "nbd"
  std::string id = {};      // for people and logs; empty: none
  std::string serial = {};  // at most kMaxSerial characters; what the guest reads; empty: the id
  bool is_read_only = false;
  bool is_direct = false;  // past the host's page cache
  u16 queues = 1;
  u64 bandwidth = 0;   // bytes a second; 0: no limit
  u64 operations = 0;  // a second; 0: no limit
  DiskTransport transport = DiskTransport::kPci;
  DiskRing ring = DiskRing::kSplit;  // kPacked: offered to the driver beside split

  static constexpr std::size_t kMaxSerial = 20;
  static constexpr u16 kMaxQueues = 64;

  bool is_network() const;
};

// `FILE_OR_URI[,id=..][,serial=..][,readonly=on|off][,direct=on|off][,queues=N][,bandwidth=SIZE][,iops=N]
// [,transport=pci|mmio][,ring=split|packed]`. Says nothing about whether the file is there.
Result<DiskConfig> parse_disk_option(std::string_view text);

}  // namespace doppel
