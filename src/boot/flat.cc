// The BIOS boot convention: 0:7c00, boot drive in DL.
#include "boot/flat.h"

#include "base/log.h"
#include "boot/entry_state.h"

namespace doppel {

namespace {

constexpr u16 kBootAddress = 0x7c00;
constexpr u64 kMaxFlatSize = 512 * kKiB;
constexpr u64 kSignatureOffset = 510;
constexpr u16 kSignature = 0xaa55;
constexpr u64 kFirstDisk = 0x80;

}  // namespace

bool is_boot_sector(const ImageView& image) { return image.get<u16>(kSignatureOffset) == kSignature; }

Result<CpuState> load_flat(BootMemory& memory, const BootRequest& request) {
  const ImageView& image = request.kernel;
  if (image.size() > kMaxFlatSize) {
    return fail("{}: a flat binary of {} KiB; at most {} KiB can be loaded", image.name(),
                align_up(image.size(), kKiB) / kKiB, kMaxFlatSize / kKiB);
  }
  if (request.initrd || !request.modules.empty()) {
    return fail_usage("{}: a flat binary takes neither initrd nor modules", image.name());
  }
  if (!request.command_line.empty()) LOG_WARNING("{}: a flat binary gets no command line", image.name());
  TRY_VOID(memory.load(image.name(), GuestPhys(kBootAddress), image.bytes(), image.size()));
  CpuState state = real_mode_state(kBootAddress);
  state.gpr[x86::kRdx] = kFirstDisk;
  return state;
}

}  // namespace doppel
