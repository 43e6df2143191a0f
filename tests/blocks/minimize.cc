// Makes a failing block smaller, and prints blocks.
#include "tests/blocks/minimize.h"

#include <fmt/format.h>

#include <cstring>

namespace doppel::blocks {
namespace {

constexpr u8 kNop = 0x90;

bool still_differs(Judge& judge, const Block& block, const Start& start, Way way, u64 seed) {
  judge.place(block);
  return judge.start(start, seed) && !judge.judge(way).empty();
}

}  // namespace

bool minimize(Judge& judge, Block& block, const Start& start, Way way, u64 seed) {
  if (!still_differs(judge, block, start, way, seed)) return false;
  const Decoder decoder(block.is_compat);
  for (auto address = block.instructions.rbegin(); address != block.instructions.rend(); ++address) {
    Instruction instruction;
    u8* bytes = block.code.data() + (*address - kCodeBase);
    if (!decoder.decode({bytes, 15}, instruction)) continue;
    std::array<u8, 15> kept;
    std::memcpy(kept.data(), bytes, 15);
    std::memset(bytes, kNop, instruction.info.length);
    if (!still_differs(judge, block, start, way, seed)) std::memcpy(bytes, kept.data(), 15);
  }
  return still_differs(judge, block, start, way, seed);
}

std::string disassemble(const Block& block) {
  const Decoder decoder(block.is_compat);
  std::string text;
  u64 nops = 0;
  for (const u64 address : block.instructions) {
    Instruction instruction;
    const u8* bytes = block.code.data() + (address - kCodeBase);
    if (!decoder.decode({bytes, 15}, instruction)) continue;
    if (bytes[0] == kNop) {
      ++nops;
      continue;
    }
    std::string hex;
    for (unsigned i = 0; i < instruction.info.length; ++i) hex += fmt::format("{:02x} ", bytes[i]);
    text += fmt::format("  {:#x}: {:36}{}\n", address, hex, differential::disassemble(instruction, address));
  }
  return text + fmt::format("  {:#x}: end ({} instructions left out)\n", block.end, nops);
}

}  // namespace doppel::blocks
