// Making the socket device.
#include "devices/virtio_vsock_option.h"

#include "devices/virtio_vsock.h"

namespace doppel {
namespace {

// 5.10.4: 0 to 2 are taken, and so is 0xffffffff.
constexpr u64 kFirstGuestCid = 3;
constexpr u64 kLastGuestCid = 0xfffffffe;

}  // namespace

Result<MadeVirtioDevice> make_virtio_vsock(std::string_view value, const VirtioEnvironment& environment) {
  const OptionKey keys[] = {{"cid"}, {"id"}, kTransportKey, kRingKey};
  const OptionList options = TRY(OptionList::parse("--vsock", "a socket's path", value, keys));
  const VsockConfig config{
      .path = options.subject(),
      .guest_cid = TRY(options.number("cid", kFirstGuestCid, kFirstGuestCid, kLastGuestCid))};
  const VirtioPlacement placement = TRY(parse_placement(options));
  if (environment.loop == nullptr) {
    return fail_usage("--vsock: not with --clock instructions: what peers do is not determined");
  }
  return MadeVirtioDevice{.device = TRY(VirtioVsock::create(config, *environment.loop)),
                          .placement = placement,
                          .id = options.text("id")};
}

}  // namespace doppel
