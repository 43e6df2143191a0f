// The report's text.
#include "engine/lockstep/report.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include "cpu/core.h"

namespace doppel::lockstep {
namespace {

constexpr int kBytesColumn = 32;

// The code as it is in memory now, which the block was made of unless it wrote itself.
std::vector<u8> code_at(u64 rip, u64 size, Core& core) {
  std::vector<u8> code;
  while (code.size() < size && core.is_canonical(rip + code.size())) {
    const u64 at = rip + code.size();
    const Translation translation = core.mmu.translate_code(GuestVirt(at), core.cpl == 3);
    const u64 part = std::min(size - code.size(), kPageSize - (at & kPageOffsetMask));
    if (!translation.is_valid || !core.memory.is_ram(translation.physical, part)) break;
    const u8* host = core.memory.host(translation.physical);
    code.insert(code.end(), host, host + part);
  }
  return code;
}

std::string code_lines(const Mismatch& mismatch, Core& core) {
  const std::vector<u8> code =
      code_at(mismatch.rip, mismatch.instructions * ZYDIS_MAX_INSTRUCTION_LENGTH, core);
  std::string text;
  u64 at = 0;
  for (u64 i = 0; i < mismatch.instructions && at < code.size(); ++i) {
    ZydisDisassembledInstruction instruction;
    const bool is_known = ZYAN_SUCCESS(ZydisDisassembleIntel(
        ZYDIS_MACHINE_MODE_LONG_64, mismatch.rip + at, code.data() + at, code.size() - at, &instruction));
    if (!is_known) break;
    std::string bytes;
    for (u64 k = 0; k < instruction.info.length; ++k) bytes += fmt::format("{:02x}", code[at + k]);
    text += fmt::format("{:016x}  {:<{}} {}{}\n", mismatch.rip + at, bytes, kBytesColumn, instruction.text,
                        i < mismatch.executed ? "" : "   (not executed)");
    at += instruction.info.length;
  }
  return text;
}

}  // namespace

std::string report_of(const Mismatch& mismatch, Core& core) {
  std::string text = fmt::format(
      "engine check: vCPU {}, block {}: translated code and the interpreter disagree on the {} instructions "
      "at "
      "{:#x}\n",
      mismatch.cpu, mismatch.block, mismatch.instructions, mismatch.rip);
  text += code_lines(mismatch, core);
  if (!mismatch.why.empty()) text += mismatch.why + "\n";
  for (const RegisterDifference& difference : mismatch.registers) {
    text += fmt::format("{}: translated {}, interpreted {}\n", difference.name, difference.translated,
                        difference.interpreted);
  }
  for (const ByteDifference& difference : mismatch.memory) {
    text += fmt::format("memory at guest-physical {:#x}: translated {:02x}, interpreted {:02x}\n",
                        difference.address.value(), difference.translated, difference.interpreted);
  }
  text += fmt::format("The same run with --jit-dump FILE,rip={:#x} writes the block's host code to FILE.",
                      mismatch.rip);
  return text;
}

}  // namespace doppel::lockstep
