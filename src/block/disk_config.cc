// Parsing of --disk.
#include "block/disk_config.h"

#include <algorithm>

namespace doppel {
namespace {

constexpr std::string_view kOption = "--disk";
constexpr u64 kMaxRate = u64{1} << 50;

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

Result<void> check(const DiskConfig& config) {
  if (config.serial.size() > DiskConfig::kMaxSerial || !is_printable(config.serial)) {
    return fail_usage("{}: serial={}: give at most {} printable characters", kOption, config.serial,
                      DiskConfig::kMaxSerial);
  }
  if (!is_printable(config.id)) return fail_usage("{}: id: give printable characters", kOption);
  if (config.bandwidth > kMaxRate)
    return fail_usage("{}: bandwidth: give at most {}G", kOption, kMaxRate / kGiB);
  if (config.is_network() && config.is_direct) {
    return fail_usage("{}: direct=on: only a file has a page cache to pass by", kOption);
  }
  return {};
}

}  // namespace

bool DiskConfig::is_network() const {
  return target.starts_with("nbd://") || target.starts_with("nbd+unix://") || target.starts_with("nbds://") ||
         target.starts_with("nbds+unix://");
}

Result<DiskConfig> read_disk_options(const OptionList& options) {
  DiskConfig config;
  config.target = options.subject();
  config.id = options.text("id");
  config.serial = options.text("serial");
  if (config.serial.empty()) config.serial = config.id.substr(0, DiskConfig::kMaxSerial);
  config.is_read_only = TRY(options.flag("readonly", false));
  config.is_direct = TRY(options.flag("direct", false));
  config.queues = static_cast<u16>(TRY(options.number("queues", 1, 1, DiskConfig::kMaxQueues)));
  config.bandwidth = TRY(options.size("bandwidth", 0));
  config.operations = TRY(options.number("iops", 0, 0, kMaxRate));
  TRY_VOID(check(config));
  return config;
}

}  // namespace doppel
