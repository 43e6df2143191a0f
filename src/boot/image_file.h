// Reads boot files from the host with a bound on their size.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "boot/image_view.h"

namespace doppel {

// A boot file in memory. Owned by load_guest() until everything is in guest RAM.
struct ImageFile {
  std::string name;  // for messages: "kernel '/path'"
  std::vector<u8> bytes;

  ImageView view() const { return {name, bytes}; }
};

// Reads a regular, non-empty file of at most `max_size` bytes. `role` is what the file is for: "kernel".
Result<ImageFile> read_image_file(std::string_view role, const std::string& path, u64 max_size);

}  // namespace doppel
