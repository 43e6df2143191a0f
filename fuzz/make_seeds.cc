// make_seeds FOLDER: writes a seed corpus for each fuzz target, from the synthetic images of the loader
// tests.
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "boot/test_image.h"
#include "boot/test_pack.h"
#include "net/net_recording.h"
#include "state/state_buffer.h"
#include "state_sample.h"

namespace doppel {
namespace {

void write_seed(const std::string& root, const std::string& target, const std::string& name,
                const std::vector<u8>& bytes) {
  const std::string folder = root + "/" + target;
  ::mkdir(root.c_str(), 0755);
  ::mkdir(folder.c_str(), 0755);
  std::ofstream(folder + "/" + name, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void write_bzimages(const std::string& root) {
  const auto elf = test::make_elf64(true);
  write_seed(root, "bzimage_fuzz", "plain", test::make_bzimage(elf));
  write_seed(root, "bzimage_fuzz", "gzip", test::make_bzimage(test::pack_gzip(elf)));
  write_seed(root, "bzimage_fuzz", "lz4", test::make_bzimage(test::pack_lz4(elf)));
  write_seed(root, "bzimage_fuzz", "zstd", test::make_bzimage(test::pack_zstd(elf)));
  write_seed(root, "bzimage_fuzz", "xz", test::make_bzimage(test::pack_xz(elf)));
  write_seed(root, "bzimage_fuzz", "lzma", test::make_bzimage(test::pack_lzma(elf)));
}

void write_others(const std::string& root) {
  constexpr u32 kMultibootMagic = 0x1badb002;
  test::ImageBuilder elf;
  elf.put_bytes(0, test::make_elf64(false)).put(0x900, kMultibootMagic).put(0x908, 0 - kMultibootMagic);
  test::ImageBuilder addresses;
  const u32 words[] = {kMultibootMagic, 0x10003, 0 - kMultibootMagic - 0x10003, 0x200000, 0x200000, 0x200100,
                       0x201000,        0x200040};
  addresses.put(0, words).put(0xff, u8{1});
  test::ImageBuilder sector;
  sector.put(510, u16{0xaa55});
  write_seed(root, "elf_fuzz", "pvh", test::make_elf64(true));
  write_seed(root, "elf_fuzz", "multiboot", elf.take());
  write_seed(root, "elf_fuzz", "sector", sector.take());
  write_seed(root, "multiboot_fuzz", "elf", elf.take());
  write_seed(root, "multiboot_fuzz", "addresses", addresses.take());
}

void write_states(const std::string& root) {
  fuzz::StateSample sample;
  StateSaver empty;
  sample.visit_state(empty);
  write_seed(root, "state_loader_fuzz", "empty", empty.take());
  sample.memory->write_value(GuestPhys(0x5000), u64{42});
  StateSaver filled;
  sample.visit_state(filled);
  write_seed(root, "state_loader_fuzz", "filled", filled.take());
}

void write_packets(const std::string& root) {
  const std::string_view session =
      "$qSupported#37+$g#67$m10000,40#5d$Z2,1000,4#02$c#63\x03$vCont;s:1;c#c0$qRcmd,68656c70#fd";
  write_seed(root, "gdb_packet_fuzz", "session", {session.begin(), session.end()});
  const std::string_view bare = "vCont;s:1;c";
  write_seed(root, "gdb_packet_fuzz", "bare", {bare.begin(), bare.end()});
}

void write_recordings(const std::string& root) {
  const std::string folder = root + "/net_recording_fuzz";
  ::mkdir(folder.c_str(), 0755);
  auto writer = NetRecordingWriter::create(folder + "/session", {.limits = {.mtu = 1500}});
  if (!writer) return;
  std::vector<u8> frame(60, 0x5a);
  writer->add_sent({Nanoseconds(10), chain_frame(0, {}, frame)});
  writer->add_frame(Nanoseconds(20'000), {}, frame);
  writer->add_link(Nanoseconds(40'000), false);
  writer->add_end(Nanoseconds(50'000));
}

}  // namespace
}  // namespace doppel

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_seeds FOLDER\n", stderr);
    return 2;
  }
  doppel::write_bzimages(argv[1]);
  doppel::write_others(argv[1]);
  doppel::write_states(argv[1]);
  doppel::write_packets(argv[1]);
  doppel::write_recordings(argv[1]);
  return 0;
}
