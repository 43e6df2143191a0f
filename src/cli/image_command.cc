// Options of `doppel image build`, checked and turned into a recipe.
#include "cli/image_command.h"

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/parse_number.h"
#include "cli/apt_sources.h"
#include "cli/file_copy.h"
#include "cli/image_builder.h"

namespace doppel {
namespace {

constexpr u64 kSmallestDisk = 256 * kMiB;
constexpr u64 kLargestDisk = u64{16} << 40;  // ext4 with 4 KiB blocks
constexpr mode_t kFileMask = 022;            // the guest's users must be able to read what is installed

void print_progress(const std::string& text) { std::fputs(("image: " + text + "\n").c_str(), stderr); }

Result<std::string> read_ssh_key(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path);
  std::string key;
  if (!std::getline(file, key)) return fail("--ssh-key {}: cannot be read", path);
  if (!key.starts_with("ssh-") && !key.starts_with("ecdsa-") && !key.starts_with("sk-")) {
    return fail_usage("--ssh-key {}: not a public key; give the file whose name ends in .pub", path);
  }
  return key;
}

Result<std::vector<std::string>> package_sources(const ImageOptions& options) {
  std::vector<std::string> lines;
  if (!options.mirror.empty()) {
    if (options.mirror.find_first_of(" \t\n") != std::string::npos) {
      return fail_usage("--mirror '{}': give one address without spaces", options.mirror);
    }
    lines.push_back("deb " + options.mirror + " " + options.suite + " main");
    return lines;
  }
  for (const AptSource& source : sources_of_suite(read_host_apt_sources(), options.suite)) {
    lines.push_back(source.line());
  }
  if (lines.empty()) {
    return fail("the package sources of this host have no suite '{}'; give --mirror", options.suite);
  }
  return lines;
}

Result<ImageRecipe> recipe_of(const ImageOptions& options) {
  ImageRecipe recipe;
  if (!is_suite_name(options.suite)) return fail_usage("--suite '{}' is no suite's name", options.suite);
  if (!is_host_name(options.hostname)) return fail_usage("--hostname '{}' is no host name", options.hostname);
  if (options.root_password.find_first_of("\r\n") != std::string::npos) {
    return fail_usage("--root-password: give one line");
  }
  recipe.suite = options.suite;
  recipe.hostname = options.hostname;
  recipe.root_password = options.root_password;
  recipe.packages = TRY(parse_packages(options.packages));
  recipe.disk_bytes = TRY(parse_size(options.size));
  if (recipe.disk_bytes < kSmallestDisk || recipe.disk_bytes > kLargestDisk) {
    return fail_usage("--size {}: give 256M to 16384G", options.size);
  }
  recipe.ssh_key = TRY(read_ssh_key(options.ssh_key_path));
  recipe.sources = TRY(package_sources(options));
  return recipe;
}

Result<void> deliver_image(const ImageEntry& entry, const ImageOptions& options) {
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> files = {{entry.disk, options.output}};
  if (!options.kernel_output.empty()) files.emplace_back(entry.kernel, options.kernel_output);
  if (!options.initrd_output.empty()) files.emplace_back(entry.initrd, options.initrd_output);
  return deliver(files);
}

Result<void> make_image(const ImageOptions& options, ImageBuilder& builder) {
  ImageRecipe recipe = TRY(recipe_of(options));
  recipe.apt_settings = TRY(builder.host_apt_settings());
  ImageEntry entry = builder.entry(recipe);
  if (entry.is_complete() && !options.refreshes) {
    print_progress("from the cache, made before; --refresh makes it new");
  } else {
    entry = TRY(builder.build(recipe));
  }
  TRY_VOID(deliver_image(entry, options));
  print_progress(options.output + " is ready");
  return {};
}

}  // namespace

std::string default_image_cache() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return std::string(cache) + "/doppel/images";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.cache/doppel/images";
}

CLI::App* add_image_command(CLI::App& app, ImageOptions& options) {
  CLI::App* image = app.add_subcommand("image", "Make disks for guests");
  image->require_subcommand(1);
  CLI::App* build = image->add_subcommand("build", "Make a bootable Debian root disk from packages");
  build->add_option("--output", options.output, "The disk to make")->required();
  build->add_option("--suite", options.suite, "Debian release")->capture_default_str();
  build->add_option("--packages", options.packages, "Packages beside the base system, with commas between");
  build->add_option("--size", options.size, "Size of the disk")->capture_default_str();
  build->add_option("--mirror", options.mirror, "Package archive; default: the host's own sources");
  build->add_option("--kernel-output", options.kernel_output, "Where to put the kernel");
  build->add_option("--initrd-output", options.initrd_output, "Where to put the initial RAM disk");
  build->add_option("--hostname", options.hostname, "The guest's name")->capture_default_str();
  build->add_option("--root-password", options.root_password,
                    "Password of root; without it the serial console logs in as root by itself");
  build->add_option("--ssh-key", options.ssh_key_path, "Public key that may log in as root by ssh");
  build->add_option("--cache", options.cache, "Where images are kept for the next time");
  build->add_flag("--refresh", options.refreshes, "Make it new even if the cache has it");
  return image;
}

Result<int> build_image(const ImageOptions& options) {
  Interrupts interrupts = TRY(Interrupts::create());
  ::umask(kFileMask);
  ImageBuilder builder(options.cache.empty() ? default_image_cache() : options.cache, interrupts,
                       print_progress);
  const Result<void> made = make_image(options, builder);
  const int signal = interrupts.poll_signal();
  if (signal != 0) return 128 + signal;
  if (!made) return std::unexpected(made.error());
  return 0;
}

}  // namespace doppel
