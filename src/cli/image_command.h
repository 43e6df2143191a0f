// The `doppel image` command.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "base/result.h"

namespace doppel {

struct ImageOptions {
  std::string suite = "bookworm";
  std::vector<std::string> packages;
  std::string output;
  std::string size = "2G";
  std::string mirror;  // empty: as the host's apt
  std::string kernel_output;
  std::string initrd_output;
  std::string hostname = "doppel";
  std::string root_password;
  std::string ssh_key_path;
  std::string cache;  // empty: the user's cache directory
  bool refreshes = false;
};

// Adds `image` with its subcommand `build`; returns `image`.
CLI::App* add_image_command(CLI::App& app, ImageOptions& options);
// Makes the image; the process's exit status.
Result<int> build_image(const ImageOptions& options);

// Where images are kept: $XDG_CACHE_HOME or $HOME/.cache, each followed by doppel/images.
std::string default_image_cache();

}  // namespace doppel
