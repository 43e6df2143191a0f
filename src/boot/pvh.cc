// The PVH boot ABI: Xen docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
#include "boot/pvh.h"

#include "boot/entry_state.h"

namespace doppel {

namespace {

constexpr u32 kStartInfoMagic = 0x336ec578;

struct StartInfo {
  u32 magic;
  u32 version;  // 1: with memory map
  u32 flags;
  u32 module_count;
  u64 modules;
  u64 command_line;
  u64 rsdp;
  u64 memory_map;
  u32 memory_map_entries;
  u32 reserved;
};
static_assert(sizeof(StartInfo) == 56);

struct StartModule {
  u64 address;
  u64 size;
  u64 command_line;
  u64 reserved;
};
static_assert(sizeof(StartModule) == 32);

struct StartMemory {
  u64 address;
  u64 size;
  u32 type;  // as in E820
  u32 reserved;
};
static_assert(sizeof(StartMemory) == 24);

template <class T>
std::span<const u8> as_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const u8*>(values.data()), values.size() * sizeof(T)};
}

Result<StartModule> place_module(BootMemory& memory, const ImageView& image, std::string_view command_line,
                                 u64 limit) {
  const auto place = memory.claim_highest(image.size(), kPageSize, limit);
  if (!place) {
    return fail("{}: {} KiB do not fit beside the kernel in {} MiB of guest memory; give the guest more",
                image.name(), align_up(image.size(), kKiB) / kKiB, memory.ram_size() / kMiB);
  }
  memory.fill(*place, image.bytes(), image.size());
  GuestPhys text;
  if (!command_line.empty()) text = TRY(memory.store_string(image.name(), command_line));
  return StartModule{place->value(), image.size(), text.value(), 0};
}

Result<std::vector<StartModule>> place_modules(BootMemory& memory, const BootRequest& request,
                                               u64 initrd_limit) {
  std::vector<StartModule> modules;
  if (request.initrd) modules.push_back(TRY(place_module(memory, *request.initrd, {}, initrd_limit)));
  for (const BootModule& module : request.modules) {
    modules.push_back(TRY(place_module(memory, module.image, module.command_line, initrd_limit)));
  }
  return modules;
}

std::vector<StartMemory> memory_map(const BootTables& tables) {
  std::vector<StartMemory> map;
  for (const E820Entry entry : tables.e820) map.push_back({entry.base, entry.size, entry.type, 0});
  return map;
}

}  // namespace

Result<GuestPhys> load_pvh_kernel(BootMemory& memory, const ElfImage& elf) {
  const auto entry = elf.pvh_entry();
  if (!entry || !elf.is_loaded(*entry) || entry->value() >= GuestMemory::kHighRamStart) {
    return fail("{}: its PVH entry does not lie in the loaded kernel", elf.name());
  }
  TRY_VOID(elf.load(memory));
  return *entry;
}

Result<CpuState> enter_pvh(BootMemory& memory, const BootRequest& request, GuestPhys entry,
                           u64 initrd_limit) {
  const auto modules = TRY(place_modules(memory, request, initrd_limit));
  const auto map = memory_map(request.tables);
  StartInfo info = {};
  info.magic = kStartInfoMagic;
  info.version = 1;
  info.module_count = static_cast<u32>(modules.size());
  if (!modules.empty()) info.modules = TRY(memory.store("module list", as_bytes(modules), 16)).value();
  info.command_line = TRY(memory.store_string("kernel command line", request.command_line)).value();
  info.rsdp = request.tables.rsdp.value();
  info.memory_map = TRY(memory.store("memory map", as_bytes(map), 16)).value();
  info.memory_map_entries = static_cast<u32>(map.size());
  const std::span<const u8> info_bytes = {reinterpret_cast<const u8*>(&info), sizeof(info)};
  const GuestPhys start_info = TRY(memory.store("PVH start info", info_bytes, 16));
  const GuestPhys gdt = TRY(store_boot_gdt(memory, false));
  CpuState state = protected_mode_state(entry, gdt);
  state.gpr[x86::kRbx] = start_info.value();
  return state;
}

}  // namespace doppel
