// Parsing of --disk.
#include "block/disk_config.h"

#include <algorithm>

#include "base/option_list.h"

namespace doppel {
namespace {

constexpr std::string_view kOption = "--disk";
constexpr OptionKey kKeys[] = {{"id"},        {"serial"}, {"readonly"},  {"direct"}, {"queues"},
                               {"bandwidth"}, {"iops"},   {"transport"}, {"ring"}};
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

Result<DiskConfig> parse_disk_option(std::string_view text) {
  const OptionList list = TRY(OptionList::parse(kOption, "a file or nbd URI", text, kKeys));
  DiskConfig config;
  config.target = list.subject();
  config.id = list.text("id");
  config.serial = list.text("serial");
  if (config.serial.empty()) config.serial = config.id.substr(0, DiskConfig::kMaxSerial);
  config.is_read_only = TRY(list.flag("readonly", false));
  config.is_direct = TRY(list.flag("direct", false));
  config.queues = static_cast<u16>(TRY(list.number("queues", 1, 1, DiskConfig::kMaxQueues)));
  config.bandwidth = TRY(list.size("bandwidth", 0));
  config.operations = TRY(list.number("iops", 0, 0, kMaxRate));
  config.transport = TRY(list.choice("transport", DiskTransport::kPci,
                                     {{"pci", DiskTransport::kPci}, {"mmio", DiskTransport::kMmio}}));
  config.ring = TRY(
      list.choice("ring", DiskRing::kSplit, {{"split", DiskRing::kSplit}, {"packed", DiskRing::kPacked}}));
  TRY_VOID(check(config));
  return config;
}

}  // namespace doppel
