// Command lines, package names and cache keys of guest images.
#include "cli/image_recipe.h"

#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <sstream>

namespace doppel {
namespace {

// To be changed with anything that changes images and is not part of the recipe's own text.
constexpr const char* kRecipeVersion = "doppel image 1";

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// Debian policy 5.6.7; a version may follow.
bool is_package_name(const std::string& name) {
  if (name.size() < 2 || !is_lower_or_digit(name[0])) return false;
  return std::ranges::all_of(name, [](char c) {
    return is_lower_or_digit(c) || std::string_view("+-.:=~").find(c) != std::string_view::npos;
  });
}

void add_options(std::vector<std::string>& command, const std::string& name,
                 const std::vector<std::string>& values) {
  for (const std::string& value : values) command.push_back(name + value);
}

// For mmdebstrap, which splits its hooks as a shell does.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char character : text)
    result += character == '\'' ? std::string("'\\''") : std::string(1, character);
  return result + "'";
}

std::string shell_line(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& word : command) line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

}  // namespace

Result<std::vector<std::string>> parse_packages(const std::vector<std::string>& lists) {
  std::vector<std::string> names;
  for (std::string list : lists) {
    std::ranges::replace(list, ',', ' ');
    std::istringstream stream(list);
    for (std::string name; stream >> name;) {
      if (!is_package_name(name)) return fail_usage("--packages: '{}' is no package name", name);
      names.push_back(name);
    }
  }
  std::ranges::sort(names);
  const auto repeated = std::ranges::unique(names);
  names.erase(repeated.begin(), repeated.end());
  return names;
}

bool is_host_name(const std::string& text) {
  if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
  return std::ranges::all_of(
      text, [](char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '-'; });
}

bool is_suite_name(const std::string& text) {
  if (text.empty() || !is_lower_or_digit(text.front())) return false;
  return std::ranges::all_of(text, [](char c) { return is_lower_or_digit(c) || c == '-' || c == '.'; });
}

std::vector<std::string> base_packages() {
  return {"systemd-sysv",
          "udev",
          "dbus",
          "login",
          "systemd-resolved",
          "openssh-server",
          "iproute2",
          "kmod",
          "netbase",
          "procps",
          "e2fsprogs",
          "initramfs-tools",
          "ca-certificates",
          "linux-image-cloud-amd64"};
}

std::vector<std::string> mmdebstrap_command(const std::string& program, const ImageRecipe& recipe,
                                            const std::string& files_archive,
                                            const std::string& tree_archive) {
  std::vector<std::string> packages = base_packages();
  packages.insert(packages.end(), recipe.packages.begin(), recipe.packages.end());
  std::vector<std::string> command = {program, "--mode=auto", "--variant=minbase", "--format=tar",
                                      "--architectures=amd64"};
  add_options(command, "--aptopt=", {"APT::Install-Recommends \"false\";"});
  add_options(command, "--aptopt=", recipe.apt_settings);
  // The work directory is thrown away when something fails, so nothing needs to reach the host's disk early.
  add_options(command, "--dpkgopt=",
              {"force-unsafe-io", "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright",
               "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*",
               "path-exclude=/usr/share/info/*"});
  command.push_back(fmt::format("--include={}", fmt::join(packages, ",")));
  // Before the kernel's package, so that its initial RAM disk is made as the files say.
  command.push_back(fmt::format("--essential-hook=tar-in {} /", quoted(files_archive)));
  add_options(command, "--customize-hook=",
              {"chroot \"$1\" systemctl enable systemd-networkd.service systemd-resolved.service"});
  if (recipe.root_password.empty()) {
    add_options(command, "--customize-hook=", {"chroot \"$1\" passwd --quiet --delete root"});
  } else {
    add_options(command, "--customize-hook=",
                {"chroot \"$1\" chpasswd <\"$1/root/password\"", "rm \"$1/root/password\""});
  }
  command.insert(command.end(), {recipe.suite, tree_archive});
  command.insert(command.end(), recipe.sources.begin(), recipe.sources.end());
  return command;
}

std::vector<std::string> unpack_command(const std::string& program, const std::string& archive,
                                        const std::string& tree) {
  return {program,           "--extract",
          "--file",          archive,
          "--directory",     tree,
          "--numeric-owner", "--same-permissions",
          "--xattrs",        "--xattrs-include=*"};
}

std::vector<std::string> mkfs_command(const std::string& program, const ImageRecipe& recipe,
                                      const std::string& tree, const std::string& disk) {
  // Without lazy initialization the guest has nothing left to do in its first minutes.
  return {program,
          "-q",
          "-F",
          "-L",
          "root",
          "-E",
          "lazy_itable_init=0,lazy_journal_init=0",
          "-d",
          tree,
          disk,
          fmt::format("{}k", recipe.disk_bytes / 1024)};
}

// fakeroot keeps extended attributes until it ends, so one of it runs everything. It takes a file that gets
// an attribute (security.capability) before an owner, as tar gives them, for one of no type; such files get
// their owner in a first pass without attributes.
std::vector<std::string> fakeroot_command(const std::string& program, const std::vector<std::string>& unpack,
                                          const std::vector<std::string>& mkfs) {
  std::vector<std::string> owners = unpack;
  std::erase_if(owners, [](const std::string& word) { return word.starts_with("--xattrs"); });
  std::vector<std::string> attributes = unpack;
  attributes.emplace_back("--overwrite");
  return {program, "--", "/bin/sh", "-c",
          fmt::format("{} && {} && {}", shell_line(owners), shell_line(attributes), shell_line(mkfs))};
}

std::string recipe_key(const ImageRecipe& recipe) {
  std::string text = fmt::format("{}\n{}\n{}\n", kRecipeVersion, recipe.root_password, recipe.disk_bytes);
  for (const std::string& word : mmdebstrap_command("", recipe, "", "")) text += word + '\n';
  for (const ImageFile& file : image_files(recipe)) {
    text += fmt::format("{} {:o} {} {}\n{}\n", file.path, file.mode, file.is_link, file.content.size(),
                        file.content);
  }
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace doppel
