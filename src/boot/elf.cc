// Parses ELF headers; layouts from the System V ABI, chapters 4 and 5.
#include "boot/elf.h"

#include <elf.h>

#include <algorithm>
#include <array>

namespace doppel {

namespace {

// Kernels have fewer than ten; a bound keeps hostile files from costing time.
constexpr u32 kMaxSegments = 128;
constexpr u64 kMaxNoteBytes = 64 * kKiB;

// Xen's public/elfnote.h: the physical address of the 32-bit entry.
constexpr u32 kPhys32EntryNote = 18;
using NoteOwner = std::array<u8, 4>;
constexpr NoteOwner kNoteOwner = {'X', 'e', 'n', 0};

std::string machine_name(u16 machine) {
  switch (machine) {
    case EM_386:
      return "32-bit x86";
    case EM_ARM:
      return "32-bit Arm";
    case EM_AARCH64:
      return "aarch64";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "64-bit PowerPC";
    case EM_S390:
      return "s390";
    case EM_LOONGARCH:
      return "LoongArch";
    default:
      return fmt::format("machine number {}", machine);
  }
}

struct Elf32 {
  using FileHeader = Elf32_Ehdr;
  using ProgramHeader = Elf32_Phdr;
};
struct Elf64 {
  using FileHeader = Elf64_Ehdr;
  using ProgramHeader = Elf64_Phdr;
};

// The entry address in a sequence of notes; nothing when there is none.
std::optional<u64> find_entry_note(const ImageView& notes, u64 alignment) {
  u64 offset = 0;
  while (const auto header = notes.get<Elf64_Nhdr>(offset)) {
    const u64 name_at = offset + sizeof(Elf64_Nhdr);
    const u64 data_at = align_up(name_at + header->n_namesz, alignment);
    const bool is_owner =
        header->n_namesz == kNoteOwner.size() && notes.get<NoteOwner>(name_at) == kNoteOwner;
    if (is_owner && header->n_type == kPhys32EntryNote) {
      if (header->n_descsz == 8) return notes.get<u64>(data_at);
      if (header->n_descsz == 4) return notes.get<u32>(data_at);
      return std::nullopt;
    }
    offset = align_up(data_at + header->n_descsz, alignment);
  }
  return std::nullopt;
}

}  // namespace

bool ElfImage::has_magic(const ImageView& image) {
  constexpr std::array<u8, 4> kMagic = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3};
  return image.get<std::array<u8, 4>>(0) == kMagic;
}

Result<ElfImage> ElfImage::parse(const ImageView& image) {
  ElfImage result(image);
  TRY_VOID(result.parse_header());
  return result;
}

Result<void> ElfImage::parse_header() {
  const auto ident = image_.get<std::array<u8, EI_NIDENT>>(0);
  // The first fields have the same place in both classes.
  const auto machine = image_.get<u16>(offsetof(Elf64_Ehdr, e_machine));
  if (!ident || !machine) return fail("{}: ELF file is truncated in its header", image_.name());
  const u8 elf_class = (*ident)[EI_CLASS];
  if ((*ident)[EI_DATA] != ELFDATA2LSB) {
    return fail("{}: ELF file is not little-endian; give an x86-64 kernel", image_.name());
  }
  const bool is_x86 =
      (elf_class == ELFCLASS64 && *machine == EM_X86_64) || (elf_class == ELFCLASS32 && *machine == EM_386);
  if (!is_x86) {
    return fail("{}: ELF file for {} (class {}); give an x86-64 kernel", image_.name(),
                machine_name(*machine), elf_class);
  }
  is_64bit_ = elf_class == ELFCLASS64;
  return is_64bit_ ? parse_segments<Elf64>() : parse_segments<Elf32>();
}

template <class Class>
Result<void> ElfImage::parse_segments() {
  using ProgramHeader = Class::ProgramHeader;
  const auto header = image_.get<typename Class::FileHeader>(0);
  if (!header) return fail("{}: ELF file is truncated in its header", image_.name());
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
    return fail("{}: ELF file of type {} is not an executable; give a linked kernel", image_.name(),
                header->e_type);
  }
  if (header->e_phentsize != sizeof(ProgramHeader) || header->e_phnum == 0 ||
      header->e_phnum > kMaxSegments) {
    return fail("{}: ELF file with {} program headers of {} bytes is not a kernel", image_.name(),
                header->e_phnum, header->e_phentsize);
  }
  const auto table = image_.slice(header->e_phoff, u64{header->e_phnum} * sizeof(ProgramHeader));
  if (!table) return fail("{}: ELF file is truncated before its program headers", image_.name());
  entry_ = header->e_entry;
  for (u32 i = 0; i < header->e_phnum; ++i) {
    const auto raw = *table->template get<ProgramHeader>(i * sizeof(ProgramHeader));
    const Segment segment = {raw.p_type,   raw.p_offset, raw.p_vaddr, raw.p_paddr,
                             raw.p_filesz, raw.p_memsz,  raw.p_align};
    if (segment.type != PT_LOAD && segment.type != PT_NOTE) continue;
    TRY_VOID(check_segment(segment));
    segments_.push_back(segment);
  }
  if (std::ranges::none_of(segments_,
                           [](const Segment& s) { return s.type == PT_LOAD && s.memory_size != 0; })) {
    return fail("{}: ELF file has nothing to load", image_.name());
  }
  return {};
}

Result<void> ElfImage::check_segment(const Segment& segment) const {
  if (!image_.contains(segment.offset, segment.file_size)) {
    return fail("{}: ELF file is truncated: a segment needs {} bytes at offset {}, the file has {}",
                image_.name(), segment.file_size, segment.offset, image_.size());
  }
  if (segment.type == PT_LOAD && segment.file_size > segment.memory_size) {
    return fail("{}: ELF file is damaged: a segment has {} bytes in the file but {} in memory", image_.name(),
                segment.file_size, segment.memory_size);
  }
  return {};
}

std::optional<GuestPhys> ElfImage::pvh_entry() const {
  for (const Segment& segment : segments_) {
    if (segment.type != PT_NOTE) continue;
    const auto notes = image_.slice(segment.offset, std::min(segment.file_size, kMaxNoteBytes));
    const auto entry = find_entry_note(*notes, segment.alignment == 8 ? 8 : 4);
    if (entry) return GuestPhys(*entry);
  }
  return std::nullopt;
}

GuestPhys ElfImage::entry() const {
  for (const Segment& segment : segments_) {
    const u64 offset = entry_ - segment.virtual_address;
    if (segment.type == PT_LOAD && entry_ >= segment.virtual_address && offset < segment.memory_size) {
      return GuestPhys(segment.physical_address + offset);
    }
  }
  return GuestPhys(entry_);
}

bool ElfImage::is_loaded(GuestPhys address) const {
  return std::ranges::any_of(segments_, [address](const Segment& segment) {
    return segment.type == PT_LOAD && address.value() >= segment.physical_address &&
           address.value() - segment.physical_address < segment.memory_size;
  });
}

Result<void> ElfImage::load(BootMemory& memory) const {
  for (const Segment& segment : segments_) {
    if (segment.type != PT_LOAD || segment.memory_size == 0) continue;
    const auto data = image_.slice(segment.offset, segment.file_size);
    TRY_VOID(
        memory.load(image_.name(), GuestPhys(segment.physical_address), data->bytes(), segment.memory_size));
  }
  return {};
}

}  // namespace doppel
