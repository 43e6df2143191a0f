// What a guest image is made of: its files, the command that makes its tree, and the key of both.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace doppel {

// Everything that decides what is in an image. Equal recipes are the same image to the cache.
struct ImageRecipe {
  std::string suite;
  std::vector<std::string> packages;      // beside the base system
  std::vector<std::string> sources;       // lines of sources.list
  std::vector<std::string> apt_settings;  // lines of apt.conf
  std::string hostname;
  std::string root_password;  // empty: none, and the console logs in by itself
  std::string ssh_key;        // public key in the form of authorized_keys; empty: none
  u64 disk_bytes = 0;
};

// A file, or with `is_link` a symbolic link to `content`, that is put into the image.
struct ImageFile {
  std::string path;  // relative to the root
  mode_t mode = 0644;
  std::string content;
  bool is_link = false;
};

// "a,b c" and repeated options: names, sorted, each once. An error for what is no package name.
Result<std::vector<std::string>> parse_packages(const std::vector<std::string>& lists);

// A host name of letters, digits and hyphens (RFC 1123 2.1), or a suite name, which also may have dots.
bool is_host_name(const std::string& text);
bool is_suite_name(const std::string& text);

std::vector<ImageFile> image_files(const ImageRecipe& recipe);

// The packages that every image has, beside the recipe's own.
std::vector<std::string> base_packages();

// Makes `tree_archive` of the recipe; `files_archive` holds image_files().
std::vector<std::string> mmdebstrap_command(const std::string& program, const ImageRecipe& recipe,
                                            const std::string& files_archive,
                                            const std::string& tree_archive);
// Unpacks `archive` with owners, modes and extended attributes into the directory `tree`.
std::vector<std::string> unpack_command(const std::string& program, const std::string& archive,
                                        const std::string& tree);
// Makes a disk of the directory `tree`.
std::vector<std::string> mkfs_command(const std::string& program, const ImageRecipe& recipe,
                                      const std::string& tree, const std::string& disk);
// The commands of a disk, unpacking and making it, as one for a user who is not root.
std::vector<std::string> fakeroot_command(const std::string& program, const std::vector<std::string>& unpack,
                                          const std::vector<std::string>& mkfs);

// 32 hexadecimal digits, different for recipes that differ in anything, and for other versions of this file.
std::string recipe_key(const ImageRecipe& recipe);

}  // namespace doppel
