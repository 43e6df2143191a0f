// Symbol files, which nobody vouches for.
#include "base/symbol_table.h"

#include <elf.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <tuple>

namespace doppel {
namespace {

constexpr u64 kMaxFileBytes = u64{1} << 30;  // a kernel with debug information has some 800 MB
constexpr u64 kLongestLast = 64 * 1024;      // how far the last function may reach
constexpr std::size_t kLongestName = 128;

bool is_printable(char c) { return c > ' ' && c <= '~'; }

// A record at `offset`, if the file is long enough.
template <class T>
std::optional<T> record_at(std::string_view file, u64 offset) {
  if (offset > file.size() || sizeof(T) > file.size() - offset) return std::nullopt;
  T record;
  std::memcpy(&record, file.data() + offset, sizeof(T));
  return record;
}

std::string_view string_at(std::string_view strings, u64 offset) {
  if (offset >= strings.size()) return {};
  const std::string_view rest = strings.substr(offset);
  const std::size_t end = rest.find('\0');
  return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
}

std::optional<std::string_view> contents_of(std::string_view file, const Elf64_Shdr& section) {
  if (section.sh_offset > file.size() || section.sh_size > file.size() - section.sh_offset)
    return std::nullopt;
  return file.substr(section.sh_offset, section.sh_size);
}

}  // namespace

Result<SymbolTable> SymbolTable::read(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return fail("symbols: {}: {}", path, std::strerror(errno));
  const std::streamoff size = file.tellg();
  if (size < 0 || static_cast<u64>(size) > kMaxFileBytes)
    return fail("symbols: {}: no file, or too long", path);
  std::string contents(static_cast<std::size_t>(size), '\0');
  file.seekg(0);
  file.read(contents.data(), size);
  if (!file) return fail("symbols: {}: cannot be read", path);
  Result<SymbolTable> table = parse(contents);
  if (!table) return fail("symbols: {}: {}", path, table.error().message);
  return table;
}

Result<SymbolTable> SymbolTable::parse(std::string_view contents) {
  SymbolTable table;
  if (contents.starts_with(ELFMAG)) {
    TRY_VOID(table.parse_elf(contents));
  } else {
    TRY_VOID(table.parse_map(contents));
  }
  if (table.symbols_.empty()) return fail("no functions in it");
  table.sort();
  return table;
}

// "ffffffff81000000 T _text", and a module's name behind it in kallsyms.
Result<void> SymbolTable::parse_map(std::string_view text) {
  for (unsigned line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) continue;
    u64 address = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), address, 16);
    const std::string_view rest = line.substr(static_cast<std::size_t>(end - line.data()));
    if (error != std::errc() || rest.size() < 4 || rest[0] != ' ' || rest[2] != ' ') {
      return fail("line {} is not ADDRESS TYPE NAME", line_number);
    }
    const bool is_code = std::string_view("tTwW").contains(rest[1]);
    if (is_code) add(address, 0, rest.substr(3, rest.find_first_of("\t \r", 3) - 3));
  }
  return {};
}

Result<void> SymbolTable::parse_elf(std::string_view file) {
  const auto header = record_at<Elf64_Ehdr>(file, 0);
  if (!header || header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
      header->e_shentsize != sizeof(Elf64_Shdr)) {
    return fail("not an ELF file for 64-bit machines with sections");
  }
  const auto section_at = [&](u64 index) {
    return index < header->e_shnum ? record_at<Elf64_Shdr>(file, header->e_shoff + index * sizeof(Elf64_Shdr))
                                   : std::nullopt;
  };
  for (u64 i = 0; i < header->e_shnum; ++i) {
    const auto section = section_at(i);
    if (!section) return fail("its section table ends too early");
    if (section->sh_type != SHT_SYMTAB) continue;
    const auto string_section = section_at(section->sh_link);
    const auto symbols = contents_of(file, *section);
    const auto strings = string_section ? contents_of(file, *string_section) : std::nullopt;
    if (!symbols || !strings) return fail("its symbol table ends too early");
    for (u64 at = 0; at + sizeof(Elf64_Sym) <= symbols->size(); at += sizeof(Elf64_Sym)) {
      const Elf64_Sym symbol = *record_at<Elf64_Sym>(*symbols, at);
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
      add(symbol.st_value, symbol.st_size, string_at(*strings, symbol.st_name));
    }
  }
  return {};
}

void SymbolTable::add(u64 address, u64 size, std::string_view name) {
  if (address == 0) return;  // what a kernel shows to those who may not know
  std::string clean(name.substr(0, kLongestName));
  std::ranges::replace_if(clean, [](char c) { return !is_printable(c); }, '?');
  if (!clean.empty()) symbols_.push_back({address, size, std::move(clean)});
}

void SymbolTable::sort() {
  std::ranges::sort(symbols_, [](const Symbol& a, const Symbol& b) {
    return std::tie(a.address, a.name) < std::tie(b.address, b.name);
  });
}

std::optional<SymbolTable::Found> SymbolTable::find(u64 address) const {
  const auto after = std::ranges::upper_bound(symbols_, address, {}, &Symbol::address);
  if (after == symbols_.begin()) return std::nullopt;
  // Of several names for one address the first.
  const auto found =
      std::ranges::lower_bound(symbols_.begin(), after, (after - 1)->address, {}, &Symbol::address);
  const u64 offset = address - found->address;
  const bool is_last = after == symbols_.end();
  const u64 size = found->size != 0 ? found->size : (is_last ? kLongestLast : ~u64{0});
  if (offset >= size) return std::nullopt;
  return Found{found->name, offset};
}

std::string SymbolTable::name_of(u64 address) const {
  const std::optional<Found> found = find(address);
  return found ? fmt::format("{}+{:#x}", found->name, found->offset) : fmt::format("{:#x}", address);
}

}  // namespace doppel
