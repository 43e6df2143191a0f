// Multiboot Specification 0.6.96, chapter 3.
#include "boot/multiboot.h"

#include <algorithm>
#include <string>

#include "boot/elf.h"
#include "boot/entry_state.h"

namespace doppel {

namespace {

constexpr u32 kHeaderMagic = 0x1badb002;
constexpr u32 kLoaderMagic = 0x2badb002;
constexpr u64 kSearchSize = 8 * kKiB;

// Header flags: 0..15 must be understood by the loader. 0 asks for page-aligned modules, 1 for memory sizes.
constexpr u32 kRequiredFlags = 0xffff;
constexpr u32 kKnownRequiredFlags = 0x7;  // 2, a video mode, is a wish: without a display there is none
constexpr u32 kHasAddresses = 1u << 16;

struct Header {
  u32 magic;
  u32 flags;
  u32 checksum;
};

// Present when kHasAddresses is set.
struct HeaderAddresses {
  u32 header_address;
  u32 load_address;
  u32 load_end_address;
  u32 bss_end_address;
  u32 entry_address;
};

// Which fields of Info are valid.
enum InfoFlag : u32 {
  kInfoMemory = 1u << 0,
  kInfoCommandLine = 1u << 2,
  kInfoModules = 1u << 3,
  kInfoMemoryMap = 1u << 6,
  kInfoLoaderName = 1u << 9,
};

struct Info {
  u32 flags;
  u32 memory_lower_kib;
  u32 memory_upper_kib;
  u32 boot_device;
  u32 command_line;
  u32 module_count;
  u32 modules;
  u32 symbols[4];
  u32 memory_map_length;
  u32 memory_map;
  u32 drives_length;
  u32 drives;
  u32 config_table;
  u32 loader_name;
  u32 apm_table;
  u32 video[11];
};
static_assert(sizeof(Info) == 116);

struct Module {
  u32 start;
  u32 end;
  u32 text;
  u32 reserved;
};
static_assert(sizeof(Module) == 16);

struct [[gnu::packed]] MapEntry {
  u32 size;  // of the rest
  E820Entry entry;
};
static_assert(sizeof(MapEntry) == 24);

template <class T>
std::span<const u8> as_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const u8*>(values.data()), values.size() * sizeof(T)};
}

u32 to_u32(GuestPhys address) { return static_cast<u32>(address.value()); }

// Loads by the addresses in the header; returns the entry.
Result<GuestPhys> load_by_addresses(BootMemory& memory, const ImageView& image, u64 header_offset) {
  const auto addresses = image.get<HeaderAddresses>(header_offset + sizeof(Header));
  if (!addresses) return fail("{}: Multiboot header is truncated", image.name());
  const auto& [header, load, load_end, bss_end, entry] = *addresses;
  const u64 before = u64{header} - load;
  if (header < load || before > header_offset) {
    return fail("{}: Multiboot header has load address {:#x} that does not fit header address {:#x}",
                image.name(), load, header);
  }
  const u64 file_offset = header_offset - before;
  // A load end below the load address makes this larger than any file.
  const u64 file_size = load_end != 0 ? u64{load_end} - load : image.size() - file_offset;
  const auto data = image.slice(file_offset, file_size);
  if (!data) {
    return fail("{}: Multiboot kernel is truncated: load addresses {:#x} to {:#x}, but the file has {} bytes",
                image.name(), load, load_end, image.size());
  }
  const u64 end = std::max(load + file_size, u64{bss_end});
  TRY_VOID(memory.load(image.name(), GuestPhys(load), data->bytes(), end - load));
  if (entry < load || entry >= load + file_size) {
    return fail("{}: Multiboot entry {:#x} does not lie in the loaded kernel", image.name(), entry);
  }
  return GuestPhys(entry);
}

Result<GuestPhys> load_elf(BootMemory& memory, const ImageView& image) {
  if (!ElfImage::has_magic(image)) {
    return fail("{}: Multiboot kernel is neither ELF nor has load addresses in its header", image.name());
  }
  const auto elf = TRY(ElfImage::parse(image));
  const GuestPhys entry = elf.entry();
  if (!elf.is_loaded(entry) || entry.value() >= GuestMemory::kHighRamStart) {
    return fail("{}: ELF entry {:#x} does not lie in the loaded kernel", image.name(), entry.value());
  }
  TRY_VOID(elf.load(memory));
  return entry;
}

Result<GuestPhys> load_kernel(BootMemory& memory, const ImageView& image) {
  const auto offset = find_multiboot_header(image);
  if (!offset) return fail("{}: has no Multiboot header in its first 8 KiB", image.name());
  const u32 flags = image.get<Header>(*offset)->flags;
  if ((flags & kRequiredFlags & ~kKnownRequiredFlags) != 0) {
    return fail("{}: Multiboot header requires features {:#x}, of which only {:#x} exist", image.name(),
                flags & kRequiredFlags, kKnownRequiredFlags);
  }
  return (flags & kHasAddresses) != 0 ? load_by_addresses(memory, image, *offset) : load_elf(memory, image);
}

// Modules go behind the kernel, low, where kernels with small initial page tables can reach them.
Result<Module> place_module(BootMemory& memory, const ImageView& image, std::string_view text) {
  const auto place = memory.claim_lowest(image.size(), kPageSize, kMiB);
  if (!place) {
    return fail("{}: {} KiB do not fit beside the kernel in {} MiB of guest memory; give the guest more",
                image.name(), align_up(image.size(), kKiB) / kKiB, memory.ram_size() / kMiB);
  }
  memory.fill(*place, image.bytes(), image.size());
  const GuestPhys stored = TRY(memory.store_string(image.name(), text));
  return Module{to_u32(*place), static_cast<u32>(place->value() + image.size()), to_u32(stored), 0};
}

Result<void> add_modules(BootMemory& memory, const BootRequest& request, Info& info) {
  std::vector<Module> modules;
  if (request.initrd) modules.push_back(TRY(place_module(memory, *request.initrd, "initrd")));
  for (const BootModule& module : request.modules) {
    modules.push_back(TRY(place_module(memory, module.image, module.command_line)));
  }
  info.flags |= kInfoModules;
  info.module_count = static_cast<u32>(modules.size());
  if (!modules.empty()) info.modules = to_u32(TRY(memory.store("module list", as_bytes(modules), 16)));
  return {};
}

Result<void> add_memory_map(BootMemory& memory, const BootTables& tables, Info& info) {
  std::vector<MapEntry> map;
  for (const E820Entry entry : tables.e820) {
    map.push_back({sizeof(E820Entry), entry});
    if (entry.type != kE820Ram) continue;
    if (entry.base == 0) info.memory_lower_kib = static_cast<u32>(entry.size / kKiB);
    if (entry.base == kMiB) info.memory_upper_kib = static_cast<u32>(entry.size / kKiB);
  }
  info.flags |= kInfoMemory | kInfoMemoryMap;
  info.memory_map_length = static_cast<u32>(as_bytes(map).size());
  info.memory_map = to_u32(TRY(memory.store("memory map", as_bytes(map), 16)));
  return {};
}

}  // namespace

std::optional<u64> find_multiboot_header(const ImageView& image) {
  const u64 end = std::min(image.size(), kSearchSize);
  for (u64 offset = 0; offset + sizeof(Header) <= end; offset += 4) {
    const auto header = *image.get<Header>(offset);
    if (header.magic == kHeaderMagic && header.magic + header.flags + header.checksum == 0) return offset;
  }
  return std::nullopt;
}

Result<CpuState> load_multiboot(BootMemory& memory, const BootRequest& request) {
  const GuestPhys entry = TRY(load_kernel(memory, request.kernel));
  Info info = {};
  TRY_VOID(add_modules(memory, request, info));
  TRY_VOID(add_memory_map(memory, request.tables, info));
  // Kernels take the first word for their own name.
  const std::string text = fmt::format("kernel {}", request.command_line);
  info.command_line = to_u32(TRY(memory.store_string("kernel command line", text)));
  info.loader_name = to_u32(TRY(memory.store_string("loader name", "doppel")));
  info.flags |= kInfoCommandLine | kInfoLoaderName;
  const std::span<const u8> info_bytes = {reinterpret_cast<const u8*>(&info), sizeof(info)};
  const GuestPhys stored = TRY(memory.store("Multiboot information", info_bytes, 16));
  const GuestPhys gdt = TRY(store_boot_gdt(memory, false));
  CpuState state = protected_mode_state(entry, gdt);
  state.gpr[x86::kRax] = kLoaderMagic;
  state.gpr[x86::kRbx] = stored.value();
  return state;
}

}  // namespace doppel
