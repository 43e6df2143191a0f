// ELF kernels: checking, loading by physical address, and the note that names the PVH entry.
#pragma once

#include <optional>
#include <vector>

#include "boot/boot_memory.h"
#include "boot/image_view.h"

namespace doppel {

// An ELF executable for x86, 32 or 64 bits, whose program headers have been checked: every segment lies
// inside the file. Refers to the bytes it was parsed from. Made and used by the PVH and Multiboot loaders.
class ElfImage {
 public:
  static bool has_magic(const ImageView& image);

  // Fails, naming what was found, for other machines and for damaged files.
  static Result<ElfImage> parse(const ImageView& image);

  // The physical address of the PVH entry, from the note XEN_ELFNOTE_PHYS32_ENTRY; nothing without that note.
  std::optional<GuestPhys> pvh_entry() const;

  // The header's entry, translated to a physical address where it lies in a segment's virtual range.
  GuestPhys entry() const;

  std::string_view name() const { return image_.name(); }
  bool is_64bit() const { return is_64bit_; }

  // True when `address` lies in a loaded segment.
  bool is_loaded(GuestPhys address) const;

  // Copies the segments to their physical addresses.
  Result<void> load(BootMemory& memory) const;

 private:
  struct Segment {
    u32 type;
    u64 offset;
    u64 virtual_address;
    u64 physical_address;
    u64 file_size;
    u64 memory_size;
    u64 alignment;
  };

  explicit ElfImage(const ImageView& image) : image_(image) {}
  Result<void> parse_header();
  template <class Header>
  Result<void> parse_segments();
  Result<void> check_segment(const Segment& segment) const;

  ImageView image_;
  bool is_64bit_ = false;
  u64 entry_ = 0;
  std::vector<Segment> segments_;
};

}  // namespace doppel
