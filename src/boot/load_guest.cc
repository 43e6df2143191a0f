// Reads the files, recognises the format and calls its loader.
#include "boot/load_guest.h"

#include <array>
#include <utility>

#include "base/log.h"
#include "boot/bzimage.h"
#include "boot/decompress.h"
#include "boot/elf.h"
#include "boot/flat.h"
#include "boot/image_file.h"
#include "boot/multiboot.h"
#include "boot/pvh.h"

namespace doppel {

namespace {

constexpr u64 kMaxKernelFile = 512 * kMiB;
// Kernels that do not say have at least this; Linux has half.
constexpr u64 kMaxCommandLine = 4095;

constexpr std::array<std::pair<std::string_view, BootProtocol>, 6> kProtocolNames = {{
    {"auto", BootProtocol::kAuto},
    {"pvh", BootProtocol::kPvh},
    {"linux64", BootProtocol::kLinux64},
    {"linux32", BootProtocol::kLinux32},
    {"multiboot", BootProtocol::kMultiboot},
    {"flat", BootProtocol::kFlat},
}};

constexpr u32 kArm64Magic = 0x644d5241;  // "ARM\x64" at offset 56 of an arm64 Image
constexpr u16 kDosMagic = 0x5a4d;        // "MZ": an EFI program

Result<CpuState> load_pvh(BootMemory& memory, const BootRequest& request, const ElfImage& elf) {
  const GuestPhys entry = TRY(load_pvh_kernel(memory, elf));
  return enter_pvh(memory, request, entry, GuestMemory::kHighRamStart);
}

Result<CpuState> load_elf_pvh(BootMemory& memory, const BootRequest& request) {
  const auto elf = TRY(ElfImage::parse(request.kernel));
  if (!elf.pvh_entry()) {
    return fail("{}: ELF kernel has no PVH entry; build it with CONFIG_PVH or give the bzImage",
                request.kernel.name());
  }
  return load_pvh(memory, request, elf);
}

Result<CpuState> load_elf_auto(BootMemory& memory, const BootRequest& request) {
  const auto elf = TRY(ElfImage::parse(request.kernel));
  if (elf.pvh_entry()) return load_pvh(memory, request, elf);
  if (find_multiboot_header(request.kernel)) return load_multiboot(memory, request);
  return fail(
      "{}: {}-bit ELF file has neither a PVH entry nor a Multiboot header; build the kernel with CONFIG_PVH "
      "or give its bzImage",
      request.kernel.name(), elf.is_64bit() ? 64 : 32);
}

std::unexpected<Error> unrecognised(const ImageView& image) {
  constexpr std::string_view kWanted = "give a bzImage, an ELF kernel with PVH entry, or a Multiboot kernel";
  if (image.get<u32>(56) == kArm64Magic) return fail("{}: is an arm64 kernel; {}", image.name(), kWanted);
  if (image.get<u16>(0) == kDosMagic) return fail("{}: is an EFI program; {}", image.name(), kWanted);
  const Compression compression = detect_compression(image);
  if (compression != Compression::kUnknown) {
    return fail("{}: is a {} archive; unpack it first", image.name(), compression_name(compression));
  }
  return fail("{}: {} bytes in no known kernel format; {}, or use protocol flat", image.name(), image.size(),
              kWanted);
}

Result<CpuState> load_auto(BootMemory& memory, const BootRequest& request) {
  const ImageView& kernel = request.kernel;
  if (ElfImage::has_magic(kernel)) return load_elf_auto(memory, request);
  if (is_bzimage(kernel)) return load_bzimage(memory, request);
  if (find_multiboot_header(kernel)) return load_multiboot(memory, request);
  if (is_boot_sector(kernel)) return load_flat(memory, request);
  return unrecognised(kernel);
}

Result<CpuState> load_by_protocol(BootMemory& memory, const BootRequest& request) {
  switch (request.protocol) {
    case BootProtocol::kPvh:
      return ElfImage::has_magic(request.kernel) ? load_elf_pvh(memory, request)
                                                 : load_bzimage(memory, request);
    case BootProtocol::kLinux64:
    case BootProtocol::kLinux32:
      return load_bzimage(memory, request);
    case BootProtocol::kMultiboot:
      return load_multiboot(memory, request);
    case BootProtocol::kFlat:
      return load_flat(memory, request);
    case BootProtocol::kAuto:
      break;
  }
  return load_auto(memory, request);
}

// "path arguments": the file's path ends at the first space.
std::string module_path(const std::string& module) { return module.substr(0, module.find(' ')); }

}  // namespace

Result<BootProtocol> parse_boot_protocol(std::string_view name) {
  for (const auto& [known, protocol] : kProtocolNames) {
    if (known == name) return protocol;
  }
  return fail_usage("boot protocol '{}': use auto, pvh, linux64, linux32, multiboot or flat", name);
}

Result<CpuState> load_guest_images(GuestMemory& memory, const BootRequest& request) {
  if (request.kernel.size() == 0) return fail("{}: is empty", request.kernel.name());
  if (request.command_line.size() > kMaxCommandLine) {
    return fail_usage("command line has {} bytes; at most {} are possible", request.command_line.size(),
                      kMaxCommandLine);
  }
  if (request.command_line.find('\0') != std::string_view::npos) {
    return fail_usage("command line contains a zero byte");
  }
  BootMemory boot_memory(memory, request.tables.e820);
  auto state = load_by_protocol(boot_memory, request);
  if (state) LOG_INFO("{}: entry at {:#x}", request.kernel.name(), state->rip);
  return state;
}

Result<CpuState> load_guest(GuestMemory& memory, const BootConfig& config, const BootTables& tables) {
  const ImageFile kernel = TRY(read_image_file("kernel", config.kernel_path, kMaxKernelFile));
  std::optional<ImageFile> initrd;
  if (config.initrd_path) initrd = TRY(read_image_file("initrd", *config.initrd_path, memory.low_size()));
  std::vector<ImageFile> modules;
  for (const std::string& module : config.modules) {
    modules.push_back(TRY(read_image_file("module", module_path(module), memory.low_size())));
  }
  BootRequest request = {kernel.view(), {}, {}, config.command_line, config.protocol, tables};
  if (initrd) request.initrd = initrd->view();
  for (std::size_t i = 0; i < modules.size(); ++i) {
    request.modules.push_back({modules[i].view(), config.modules[i]});
  }
  return load_guest_images(memory, request);
}

}  // namespace doppel
