// Validates the setup header and chooses the way in.
#include "boot/bzimage.h"

#include <algorithm>
#include <bit>

#include "base/log.h"
#include "boot/decompress.h"
#include "boot/linux_boot.h"
#include "boot/pvh.h"

namespace doppel {

namespace {

// File offsets of the setup header's fields.
constexpr u64 kSetupSectors = 0x1f1;
constexpr u64 kKernelParagraphs = 0x1f4;
constexpr u64 kHeaderLength = 0x201;  // counted from the next field
constexpr u64 kMagic = 0x202;
constexpr u64 kVersion = 0x206;
constexpr u64 kLoadFlags = 0x211;
constexpr u64 kCode32Start = 0x214;
constexpr u64 kInitrdAddressMax = 0x22c;
constexpr u64 kKernelAlignment = 0x230;
constexpr u64 kRelocatable = 0x234;
constexpr u64 kXLoadFlags = 0x236;
constexpr u64 kCommandLineSize = 0x238;
constexpr u64 kPayloadOffset = 0x248;
constexpr u64 kPayloadLength = 0x24c;
constexpr u64 kPreferredAddress = 0x258;
constexpr u64 kInitSize = 0x260;
constexpr u64 kFixedEnd = 0x264;  // behind the last field that is read here

constexpr u32 kHeaderMagic = 0x53726448;  // "HdrS"
constexpr u16 kMinVersion = 0x206;
constexpr u8 kLoadedHigh = 1;
constexpr u16 kKernel64 = 1;
constexpr u64 kSector = 512;
constexpr u64 kParagraph = 16;
constexpr u8 kDefaultSetupSectors = 4;

// What may be unpacked at most, whatever the guest's memory.
constexpr u64 kMaxUnpacked = 512 * kMiB;

// For fields whose presence was checked.
template <class T>
T field(const ImageView& image, u64 offset) {
  return image.get<T>(offset).value_or(T{});
}

// Where the parts of the file lie.
Result<void> parse_sizes(const ImageView& image, BzImageHeader& header) {
  const u8 sectors = field<u8>(image, kSetupSectors);
  header.setup_size = (u64{sectors == 0 ? kDefaultSetupSectors : sectors} + 1) * kSector;
  header.header_end = kMagic + field<u8>(image, kHeaderLength);
  header.kernel_size = u64{field<u32>(image, kKernelParagraphs)} * kParagraph;
  const u64 left = image.size() > header.setup_size ? image.size() - header.setup_size : 0;
  // The size is rounded up to paragraphs.
  if (header.kernel_size == 0 || left == 0 || header.kernel_size >= left + kParagraph) {
    return fail(
        "{}: bzImage is truncated: its header announces {} bytes, the file has {}; get an intact copy",
        image.name(), header.setup_size + header.kernel_size, image.size());
  }
  header.kernel_size = std::min(header.kernel_size, left);
  return {};
}

// Protocol 2.08: where the compressed kernel lies.
Result<void> parse_payload(const ImageView& image, BzImageHeader& header) {
  if (header.version < 0x208) return {};
  header.payload_offset = header.setup_size + field<u32>(image, kPayloadOffset);
  header.payload_length = field<u32>(image, kPayloadLength);
  if (image.contains(header.payload_offset, header.payload_length)) return {};
  return fail("{}: bzImage is damaged: its payload of {} bytes at {} reaches beyond the file's {}",
              image.name(), header.payload_length, header.payload_offset, image.size());
}

void parse_placement(const ImageView& image, BzImageHeader& header) {
  header.code32_start = field<u32>(image, kCode32Start);
  header.initrd_limit = u64{field<u32>(image, kInitrdAddressMax)} + 1;
  header.is_relocatable = field<u8>(image, kRelocatable) != 0;
  if (header.is_relocatable) header.alignment = field<u32>(image, kKernelAlignment);
  header.max_command_line = field<u32>(image, kCommandLineSize);
  header.preferred_address = header.code32_start;
  if (header.version >= 0x20a) {
    header.preferred_address = field<u64>(image, kPreferredAddress);
    header.init_size = field<u32>(image, kInitSize);
  }
  if (header.version >= 0x20c) header.has_64bit_entry = (field<u16>(image, kXLoadFlags) & kKernel64) != 0;
}

// Loads the ELF file that the payload is and returns its PVH entry; nothing when it has none.
Result<std::optional<GuestPhys>> load_vmlinux(BootMemory& memory, const ImageView& vmlinux) {
  if (!ElfImage::has_magic(vmlinux)) return std::nullopt;
  const auto elf = TRY(ElfImage::parse(vmlinux));
  if (!elf.pvh_entry()) return std::nullopt;
  return TRY(load_pvh_kernel(memory, elf));
}

// Unpacks the payload and loads it like load_vmlinux(); nothing, too, when this program cannot unpack it.
Result<std::optional<GuestPhys>> load_payload(BootMemory& memory, const ImageView& image,
                                              const BzImageHeader& header) {
  const auto payload = *image.slice(header.payload_offset, header.payload_length);
  if (ElfImage::has_magic(payload)) return load_vmlinux(memory, payload);
  const Compression compression = detect_compression(payload);
  if (!can_decompress(compression)) return std::nullopt;
  const u64 size = announced_size(payload).value_or(0);
  if (size > std::min(kMaxUnpacked, memory.ram_size())) {
    return fail("{}: its payload unpacks to {} MiB, more than fit; give the guest more memory", image.name(),
                size / kMiB);
  }
  // Above the kernel's own place, or where that has no room, in memory of the host's.
  const auto borrowed = memory.borrow(size, header.preferred_address + header.init_size);
  std::vector<u8> own(borrowed ? 0 : size);
  const std::span<u8> unpacked = borrowed ? borrowed->bytes() : own;
  TRY_VOID(decompress(compression, payload, unpacked));
  return load_vmlinux(memory, ImageView(image.name(), unpacked));
}

Result<void> check_request(const BootRequest& request, const BzImageHeader& header) {
  const auto name = request.kernel.name();
  if (request.command_line.size() > header.max_command_line) {
    return fail_usage("{}: the command line has {} bytes; this kernel takes at most {}", name,
                      request.command_line.size(), header.max_command_line);
  }
  if (!request.modules.empty()) {
    return fail_usage("{}: a Linux kernel takes an initrd, not modules", name);
  }
  if (request.protocol == BootProtocol::kLinux64 && !header.has_64bit_entry) {
    return fail_usage("{}: this kernel has no 64-bit entry; use protocol linux32", name);
  }
  return {};
}

}  // namespace

bool is_bzimage(const ImageView& image) { return image.get<u32>(kMagic) == kHeaderMagic; }

Result<BzImageHeader> parse_bzimage(const ImageView& image) {
  if (!is_bzimage(image)) return fail("{}: has no Linux setup header; give a bzImage", image.name());
  BzImageHeader header;
  header.version = field<u16>(image, kVersion);
  if (image.size() < kFixedEnd) return fail("{}: bzImage is truncated in its header", image.name());
  if (header.version < kMinVersion) {
    return fail("{}: bzImage has boot protocol {}.{:02}; 2.06 or later (Linux 2.6.22) is needed",
                image.name(), header.version >> 8, header.version & 0xff);
  }
  if ((field<u8>(image, kLoadFlags) & kLoadedHigh) == 0) {
    return fail("{}: is a zImage, loaded below 1 MiB; build a bzImage", image.name());
  }
  TRY_VOID(parse_sizes(image, header));
  TRY_VOID(parse_payload(image, header));
  parse_placement(image, header);
  if (!std::has_single_bit(header.alignment)) {
    return fail("{}: bzImage is damaged: kernel alignment {:#x} is not a power of two", image.name(),
                header.alignment);
  }
  return header;
}

Result<CpuState> load_bzimage(BootMemory& memory, const BootRequest& request) {
  const auto header = TRY(parse_bzimage(request.kernel));
  TRY_VOID(check_request(request, header));
  if (request.protocol == BootProtocol::kAuto || request.protocol == BootProtocol::kPvh) {
    const auto entry = TRY(load_payload(memory, request.kernel, header));
    if (entry) return enter_pvh(memory, request, *entry, header.initrd_limit);
    if (request.protocol == BootProtocol::kPvh) {
      return fail(
          "{}: has no PVH entry (or its payload cannot be unpacked); use protocol linux64 or a kernel with "
          "CONFIG_PVH",
          request.kernel.name());
    }
    LOG_INFO("{}: no PVH entry, using the Linux boot protocol", request.kernel.name());
  }
  const bool is_64bit = header.has_64bit_entry && request.protocol != BootProtocol::kLinux32;
  return load_linux(memory, request, header, is_64bit);
}

}  // namespace doppel
