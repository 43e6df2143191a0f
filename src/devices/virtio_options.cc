// Reading the options of rng and balloon, and making the devices.
#include "devices/virtio_options.h"

#include <array>
#include <limits>
#include <utility>

#include "base/parse_number.h"
#include "devices/virtio_balloon.h"
#include "devices/virtio_rng.h"

namespace doppel {

Result<MadeVirtioDevice> make_virtio_rng(std::string_view value, const VirtioEnvironment& environment) {
  static constexpr std::array kKeys = {OptionKey{"rate"}, OptionKey{"burst"}, kTransportKey, kRingKey};
  const OptionList options = TRY(OptionList::parse("--rng", "on", value, kKeys));
  if (options.subject() != "on") return fail_usage("--rng {}: only 'on' is known", options.subject());
  RateLimit limit;
  limit.per_second = TRY(options.size("rate", 0));
  limit.burst = TRY(options.size("burst", limit.per_second));
  MadeVirtioDevice made;
  made.placement = TRY(parse_placement(options));
  made.device = std::make_unique<VirtioRng>(environment.timers, limit);
  return made;
}

Result<MadeVirtioDevice> make_virtio_balloon(std::string_view value, const VirtioEnvironment& environment) {
  static constexpr std::array kKeys = {OptionKey{"statistics"}, OptionKey{"oom"}, OptionKey{"reporting"},
                                       kTransportKey, kRingKey};
  const OptionList options = TRY(OptionList::parse("--balloon", "a size", value, kKeys));
  const u64 pages = TRY(parse_size(options.subject())) >> kPageShift;
  if (pages > std::numeric_limits<u32>::max()) {
    return fail_usage("--balloon {}: larger than any guest", options.subject());
  }
  BalloonConfig config{.target_pages = static_cast<u32>(pages)};
  config.has_statistics = TRY(options.flag("statistics", true));
  config.has_deflate_on_oom = TRY(options.flag("oom", true));
  config.has_reporting = TRY(options.flag("reporting", true));
  MadeVirtioDevice made;
  made.placement = TRY(parse_placement(options));
  auto device = std::make_unique<VirtioBalloon>(config, environment.timers);
  made.balloon = device.get();
  made.device = std::move(device);
  return made;
}

}  // namespace doppel
