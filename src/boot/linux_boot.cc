// The zero page and entry states. Linux Documentation/arch/x86/boot.rst and zero-page.rst.
#include "boot/linux_boot.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "boot/entry_state.h"

namespace doppel {

namespace {

// Offsets in the zero page; the setup header has the same place there as in the file.
constexpr u64 kAcpiRsdp = 0x070;
constexpr u64 kE820Entries = 0x1e8;
constexpr u64 kSetupHeader = 0x1f1;
constexpr u64 kLoaderType = 0x210;
constexpr u64 kCode32Start = 0x214;
constexpr u64 kRamdiskImage = 0x218;
constexpr u64 kRamdiskSize = 0x21c;
constexpr u64 kCommandLine = 0x228;
constexpr u64 kSetupHeaderLimit = 0x290;
constexpr u64 kE820Table = 0x2d0;
constexpr u64 kMaxE820Entries = 128;

constexpr u8 kUnregisteredLoader = 0xff;
constexpr u64 kEntry64Offset = 0x200;

using ZeroPage = std::array<u8, kPageSize>;

template <class T>
void put(ZeroPage& page, u64 offset, T value) {
  std::memcpy(page.data() + offset, &value, sizeof(value));
}

// Where the kernel goes: its preferred address, or if it can be moved anywhere above 1 MiB that has room.
Result<GuestPhys> place_kernel(BootMemory& memory, const ImageView& kernel, const BzImageHeader& header) {
  const u64 size = std::max(header.kernel_size, header.init_size);
  const bool is_aligned = header.preferred_address % header.alignment == 0;
  const GuestPhys wanted(header.is_relocatable && is_aligned ? header.preferred_address
                                                             : header.code32_start);
  if (wanted.value() < GuestMemory::kLowRamLimit && memory.claim(wanted, size)) return wanted;
  std::optional<GuestPhys> other;
  if (header.is_relocatable) other = memory.claim_lowest(size, header.alignment, kMiB);
  if (other) return *other;
  return fail("{}: needs {} MiB of RAM at {:#x}, which {} MiB of guest memory do not have; give it more",
              kernel.name(), align_up(size, kMiB) / kMiB, wanted.value(), memory.ram_size() / kMiB);
}

Result<void> place_initrd(BootMemory& memory, const ImageView& initrd, u64 limit, ZeroPage& page) {
  const auto place = memory.claim_highest(initrd.size(), kPageSize, limit);
  if (!place) {
    return fail("{}: {} KiB do not fit beside the kernel in {} MiB of guest memory; give the guest more",
                initrd.name(), align_up(initrd.size(), kKiB) / kKiB, memory.ram_size() / kMiB);
  }
  memory.fill(*place, initrd.bytes(), initrd.size());
  put(page, kRamdiskImage, static_cast<u32>(place->value()));
  put(page, kRamdiskSize, static_cast<u32>(initrd.size()));
  return {};
}

void put_e820(ZeroPage& page, std::span<const E820Entry> map) {
  const u64 count = std::min<u64>(map.size(), kMaxE820Entries);
  put(page, kE820Entries, static_cast<u8>(count));
  if (count != 0) std::memcpy(page.data() + kE820Table, map.data(), count * sizeof(E820Entry));
}

Result<ZeroPage> copy_setup_header(const ImageView& kernel, const BzImageHeader& header) {
  const u64 end = std::min(header.header_end, kSetupHeaderLimit);
  const auto setup = kernel.slice(kSetupHeader, end - kSetupHeader);
  if (!setup) return fail("{}: bzImage is truncated in its header", kernel.name());
  ZeroPage page = {};
  std::ranges::copy(setup->bytes(), page.begin() + kSetupHeader);
  return page;
}

Result<CpuState> entry_state(BootMemory& memory, GuestPhys kernel, bool is_64bit) {
  const GuestPhys gdt = TRY(store_boot_gdt(memory, is_64bit));
  if (!is_64bit) return protected_mode_state(kernel, gdt);
  const GuestPhys tables = TRY(store_identity_page_tables(memory));
  return long_mode_state(kernel + kEntry64Offset, gdt, tables);
}

}  // namespace

Result<CpuState> load_linux(BootMemory& memory, const BootRequest& request, const BzImageHeader& header,
                            bool is_64bit) {
  const ImageView& image = request.kernel;
  auto page = TRY(copy_setup_header(image, header));
  const GuestPhys kernel = TRY(place_kernel(memory, image, header));
  const auto code = *image.slice(header.setup_size, header.kernel_size);
  memory.fill(kernel, code.bytes(), code.size());
  if (request.initrd) TRY_VOID(place_initrd(memory, *request.initrd, header.initrd_limit, page));
  const GuestPhys text = TRY(memory.store_string("kernel command line", request.command_line));
  put(page, kCommandLine, static_cast<u32>(text.value()));
  put(page, kCode32Start, static_cast<u32>(kernel.value()));
  put(page, kLoaderType, kUnregisteredLoader);
  put(page, kAcpiRsdp, request.tables.rsdp.value());
  put_e820(page, request.tables.e820);
  const GuestPhys zero_page = TRY(memory.store("zero page", page, kPageSize));
  CpuState state = TRY(entry_state(memory, kernel, is_64bit));
  state.gpr[x86::kRsi] = zero_page.value();
  return state;
}

}  // namespace doppel
