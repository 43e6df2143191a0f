// Blocks as text.
#include "engine/jit/dump.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/option_list.h"

namespace doppel {
namespace {

constexpr int kBytesColumn = 32;

std::string hex(std::span<const u8> bytes) {
  std::string text;
  for (const u8 byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// One instruction, and its length; what is none is a byte.
struct Line {
  std::string text;
  std::size_t bytes;
};

Line disassemble(std::span<const u8> code, u64 address, ZydisMachineMode mode) {
  ZydisDisassembledInstruction instruction;
  const ZyanStatus status = ZydisDisassembleIntel(mode, address, code.data(), code.size(), &instruction);
  const bool is_known = ZYAN_SUCCESS(status);
  const std::size_t size = is_known ? instruction.info.length : std::size_t{1};
  return {fmt::format("{:016x}  {:<{}} {}", address, hex(code.first(size)), kBytesColumn,
                      is_known ? instruction.text : "(no instruction)"),
          size};
}

std::string_view mode_name(AccessMode mode) {
  if (mode == kUser) return "user";
  return mode == kSupervisor ? "kernel" : "kernel with AC";
}

std::string host_lines(const TranslatedBlock& block, u32 from, u32 to) {
  std::string text;
  for (u32 at = from; at < to;) {
    if (at == block.entry) text += "           entry:\n";
    if (at == block.direct) text += "           direct:\n";
    const u32 offset = at - block.base;
    const Line line =
        disassemble(block.host.subspan(offset, to - at), reinterpret_cast<u64>(block.host_address + offset),
                    ZYDIS_MACHINE_MODE_LONG_64);
    text += "           " + line.text + "\n";
    at += static_cast<u32>(line.bytes);
  }
  return text;
}

Result<u64> parse_address(std::string_view text) {
  constexpr std::size_t kMaxDigits = 16;
  u64 address = 0;
  const std::string_view digits = text.substr(std::min<std::size_t>(text.size(), 2));
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address, 16);
  if (!text.starts_with("0x") || digits.empty() || digits.size() > kMaxDigits || error != std::errc() ||
      end != digits.data() + digits.size()) {
    return fail_usage("--jit-dump: rip={}: give an address such as 0xffffffff81000000", text);
  }
  return address;
}

// What the host code behind a mark stands for: one instruction, or several that are done together.
std::string guest_lines(const TranslatedBlock& block, std::size_t index) {
  const u64 begin = block.marks[index].rip - block.rip;
  u64 end = block.guest.size();
  if (index + 1 < block.marks.size() && !block.marks[index + 1].is_aside) {
    end = std::min(end, block.marks[index + 1].rip - block.rip);
  }
  std::string text;
  for (u64 at = begin; at < end;) {
    const Line line =
        disassemble(block.guest.subspan(at, end - at), block.rip + at,
                    block.is_32bit ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64);
    text += "  " + line.text + "\n";
    at += line.bytes;
  }
  return text;
}

// Boundaries within the head must not be overrun by what is decoded before them.
std::string head_lines(const TranslatedBlock& block, u32 end) {
  const u32 entry = std::min(block.entry, end);
  const u32 direct = std::min(block.direct, end);
  return host_lines(block, block.base, entry) + host_lines(block, entry, direct) +
         host_lines(block, direct, end);
}

}  // namespace

Result<DumpRequest> parse_dump_request(const std::string& text) {
  static constexpr OptionKey kKeys[] = {{"rip"}, {"count"}};
  const OptionList list = TRY(OptionList::parse("--jit-dump", "the file to write", text, kKeys));
  DumpRequest request{.path = list.subject(), .rip = std::nullopt};
  if (list.has("rip")) request.rip = TRY(parse_address(list.text("rip")));
  request.count = TRY(list.number("count", request.count, 1, request.count));
  return request;
}

Result<std::unique_ptr<TranslationDump>> TranslationDump::create(const DumpRequest& request) {
  File file(std::fopen(request.path.c_str(), "we"));
  if (!file) return fail("--jit-dump {}: {}", request.path, std::strerror(errno));
  return std::unique_ptr<TranslationDump>(new TranslationDump(request, std::move(file)));
}

void TranslationDump::translated(const TranslatedBlock& block) {
  const std::lock_guard lock(mutex_);
  if (request_.count == 0) return;
  const u64 size = std::max<u64>(block.guest.size(), 1);
  if (request_.rip && *request_.rip - block.rip >= size) return;
  --request_.count;
  const std::string text = text_of(block);
  // A full disk loses the dump and nothing else.
  std::fwrite(text.data(), 1, text.size(), file_.get());
  std::fflush(file_.get());
}

std::string TranslationDump::text_of(const TranslatedBlock& block) {
  std::string text = fmt::format("block {:#x} {}: {} bytes of guest code, {} bytes of host code at {:#x}\n",
                                 block.rip, mode_name(block.mode), block.guest.size(), block.host.size(),
                                 reinterpret_cast<u64>(block.host_address));
  const u32 end = block.base + static_cast<u32>(block.host.size());
  text += "  head\n" + head_lines(block, block.marks.empty() ? end : block.marks.front().position);
  for (std::size_t i = 0; i < block.marks.size(); ++i) {
    const jit::CodeMark& mark = block.marks[i];
    const u32 next = i + 1 < block.marks.size() ? block.marks[i + 1].position : end;
    if (mark.is_aside) {
      text += fmt::format("  slow path, {:#x}\n", mark.rip);
    } else if (mark.rip - block.rip < block.guest.size()) {
      text += guest_lines(block, i);
    } else {
      text += fmt::format("  end, {:#x}\n", mark.rip);
    }
    text += host_lines(block, mark.position, next);
  }
  return text + "\n";
}

}  // namespace doppel
