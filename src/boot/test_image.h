// Small synthetic kernels for the loader tests.
#pragma once

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/verify.h"
#include "boot/load_guest.h"

namespace doppel::test {

// Bytes that are written at any offset; grows as needed.
class ImageBuilder {
 public:
  template <class T>
  ImageBuilder& put(u64 offset, T value) {
    return put_bytes(offset, {reinterpret_cast<const u8*>(&value), sizeof(value)});
  }
  ImageBuilder& put_bytes(u64 offset, std::span<const u8> data) {
    if (bytes_.size() < offset + data.size()) bytes_.resize(offset + data.size());
    std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    return *this;
  }
  ImageBuilder& put_text(u64 offset, std::string_view text) {
    return put_bytes(offset, {reinterpret_cast<const u8*>(text.data()), text.size()});
  }
  std::vector<u8> take() { return bytes_; }

 private:
  std::vector<u8> bytes_;
};

inline constexpr u64 kTestLoadAddress = 0x200000;
inline constexpr u64 kTestEntry = kTestLoadAddress + 0x10;
inline constexpr std::string_view kTestCode = "the code of a kernel";

// An ELF64 kernel: kTestCode and cleared memory at kTestLoadAddress, linked at a high virtual address. With
// `has_note` its PVH entry is kTestEntry.
inline std::vector<u8> make_elf64(bool has_note) {
  constexpr u64 kVirtual = 0xffffffff80000000;
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_entry = kVirtual + kTestLoadAddress + 0x10;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  const Elf64_Phdr code = {PT_LOAD,          PF_R,   0x1000, kVirtual + kTestLoadAddress, kTestLoadAddress,
                           kTestCode.size(), 0x2000, 0x1000};
  const Elf64_Phdr note = {PT_NOTE, PF_R, 0x800, 0, 0, 24, 0, 4};
  const Elf64_Nhdr note_header = {4, 8, has_note ? 18u : 17u};
  return ImageBuilder()
      .put(0, header)
      .put(sizeof(header), code)
      .put(sizeof(header) + sizeof(code), note)
      .put(0x800, note_header)
      .put_text(0x80c, std::string_view("Xen\0", 4))
      .put(0x810, kTestEntry)
      .put_text(0x1000, kTestCode)
      .take();
}

// Field offsets of the setup header that tests change.
inline constexpr u64 kTestVersion = 0x206;
inline constexpr u64 kTestInitrdMax = 0x22c;
inline constexpr u64 kTestXLoadFlags = 0x236;
inline constexpr u64 kTestPayloadLength = 0x24c;
inline constexpr u64 kTestSetupSize = 1024;

// A relocatable bzImage for protocol 2.15 with both entries; the protected-mode kernel is `payload`.
inline std::vector<u8> make_bzimage(std::span<const u8> payload) {
  const u64 padded = align_up(payload.size(), 16);
  return ImageBuilder()
      .put(0x1f1, u8{1})
      .put(0x1f4, static_cast<u32>(padded / 16))
      .put(0x1fe, u16{0xaa55})
      .put(0x200, u16{0x6aeb})
      .put_text(0x202, "HdrS")
      .put(kTestVersion, u16{0x20f})
      .put(0x211, u8{1})
      .put(0x214, u32{0x100000})
      .put(kTestInitrdMax, u32{0x7fffffff})
      .put(0x230, u32{0x200000})
      .put(0x234, u8{1})
      .put(kTestXLoadFlags, u16{1})
      .put(0x238, u32{255})
      .put(0x248, u32{0})
      .put(kTestPayloadLength, static_cast<u32>(payload.size()))
      .put(0x258, u64{0x400000})
      .put(0x260, u32{0x10000})
      .put_bytes(kTestSetupSize, payload)
      .put_bytes(kTestSetupSize + payload.size(), std::vector<u8>(padded - payload.size()))
      .take();
}

// A guest with some RAM, to load into.
struct TestGuest {
  explicit TestGuest(u64 size = 16 * kMiB) : memory(std::move(*GuestMemory::create(size))) {
    tables = {GuestPhys(0xe0000), build_e820(*memory)};
  }

  Result<CpuState> load(std::span<const u8> kernel, BootProtocol protocol = BootProtocol::kAuto) {
    BootRequest request = {ImageView("kernel 'test'", kernel), {}, {}, command_line, protocol, tables};
    if (!initrd.empty()) request.initrd = ImageView("initrd 'test'", initrd);
    if (!module.empty()) request.modules.push_back({ImageView("module 'test'", module), "test one two"});
    return load_guest_images(*memory, request);
  }
  std::string error(std::span<const u8> kernel, BootProtocol protocol = BootProtocol::kAuto) {
    const auto state = load(kernel, protocol);
    return state ? "" : state.error().message;
  }
  std::string text(u64 address, u64 size) const {
    std::string result(size, '\0');
    VERIFY(memory->read(GuestPhys(address), {reinterpret_cast<u8*>(result.data()), size}));
    return result;
  }
  // The zero-terminated string at `address`.
  std::string string(u64 address) const { return text(address, 256).c_str(); }
  template <class T>
  T value(u64 address) const {
    return *memory->read_value<T>(GuestPhys(address));
  }

  std::unique_ptr<GuestMemory> memory;
  BootTables tables;
  std::string command_line = "console=ttyS0";
  std::vector<u8> initrd;
  std::vector<u8> module;
};

}  // namespace doppel::test
