// SymbolTable: names of functions by address.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace doppel {

// Functions of a guest's kernel, as a file says that may say anything. Made once, read by any thread.
class SymbolTable {
 public:
  struct Found {
    std::string_view name;
    u64 offset;
  };

  // Text as in System.map and /proc/kallsyms, or an ELF file for 64-bit machines with a symbol table.
  static Result<SymbolTable> read(const std::string& path);
  static Result<SymbolTable> parse(std::string_view contents);

  // The function that an address is in, as far as functions are known.
  std::optional<Found> find(u64 address) const;
  // "name+0x12", or the address.
  std::string name_of(u64 address) const;
  std::size_t count() const { return symbols_.size(); }

 private:
  struct Symbol {
    u64 address;
    u64 size;  // 0: up to the next one
    std::string name;
  };
  Result<void> parse_map(std::string_view text);
  Result<void> parse_elf(std::string_view file);
  void add(u64 address, u64 size, std::string_view name);
  void sort();

  std::vector<Symbol> symbols_;  // by address
};

}  // namespace doppel
