// Symbol files, good and bad.
#include "base/symbol_table.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>

namespace doppel {
namespace {

constexpr std::string_view kMap =
    "ffffffff81000000 T _text\n"
    "ffffffff81000100 t helper\n"
    "ffffffff81000180 D data\n"
    "ffffffff81000200 T module_function\t[module]\n";

// An ELF file with one function of 16 bytes at 0x1000, and one object.
std::string elf_file() {
  struct File {
    Elf64_Ehdr header = {};
    Elf64_Shdr sections[3] = {};
    Elf64_Sym symbols[3] = {};
    char strings[16] = "\0work\0thing";
  } file;
  std::memcpy(file.header.e_ident, ELFMAG, SELFMAG);
  file.header.e_ident[EI_CLASS] = ELFCLASS64;
  file.header.e_ident[EI_DATA] = ELFDATA2LSB;
  file.header.e_shoff = offsetof(File, sections);
  file.header.e_shentsize = sizeof(Elf64_Shdr);
  file.header.e_shnum = 3;
  file.sections[1].sh_type = SHT_SYMTAB;
  file.sections[1].sh_offset = offsetof(File, symbols);
  file.sections[1].sh_size = sizeof(file.symbols);
  file.sections[1].sh_link = 2;
  file.sections[2].sh_type = SHT_STRTAB;
  file.sections[2].sh_offset = offsetof(File, strings);
  file.sections[2].sh_size = sizeof(file.strings);
  file.symbols[1] = {
      .st_name = 1, .st_info = STT_FUNC, .st_other = 0, .st_shndx = 1, .st_value = 0x1000, .st_size = 16};
  file.symbols[2] = {
      .st_name = 6, .st_info = STT_OBJECT, .st_other = 0, .st_shndx = 1, .st_value = 0x800, .st_size = 8};
  return {reinterpret_cast<const char*>(&file), sizeof(file)};
}

TEST(SymbolTable, FindsTheFunctionAnAddressIsIn) {
  const Result<SymbolTable> table = SymbolTable::parse(kMap);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->count(), 3u);
  EXPECT_EQ(table->name_of(0xffffffff81000000), "_text+0x0");
  EXPECT_EQ(table->name_of(0xffffffff810001ff), "helper+0xff");
  EXPECT_EQ(table->name_of(0xffffffff81000204), "module_function+0x4");
}

TEST(SymbolTable, WhatIsBeforeOrFarBehindHasNoName) {
  const Result<SymbolTable> table = SymbolTable::parse(kMap);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->name_of(0x401000), "0x401000");
  EXPECT_EQ(table->name_of(0xffffffff91000000), "0xffffffff91000000");
}

TEST(SymbolTable, ReadsFunctionsOfElfFiles) {
  const Result<SymbolTable> table = SymbolTable::parse(elf_file());
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table->count(), 1u);
  EXPECT_EQ(table->name_of(0x100f), "work+0xf");
  EXPECT_EQ(table->name_of(0x1010), "0x1010");
}

TEST(SymbolTable, HiddenAddressesAreNoFunctions) {
  EXPECT_FALSE(SymbolTable::parse("0000000000000000 T _text\n0000000000000000 t helper\n"));
}

TEST(SymbolTable, NonsenseIsAnError) {
  EXPECT_FALSE(SymbolTable::parse(""));
  EXPECT_FALSE(SymbolTable::parse("ffffffff81000000"));
  EXPECT_FALSE(SymbolTable::parse("hello world, this is no map\n"));
  EXPECT_FALSE(SymbolTable::parse(ELFMAG));
  EXPECT_FALSE(SymbolTable::read("/nonexistent/map"));
  EXPECT_FALSE(SymbolTable::read("/"));
}

// Cut anywhere, and with any one byte damaged: an answer, no crash.
TEST(SymbolTable, DamagedElfFilesAreSurvived) {
  const std::string good = elf_file();
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_EQ(bool(SymbolTable::parse(good.substr(0, i))), false) << i;
    std::string damaged = good;
    damaged[i] = static_cast<char>(0xff);
    const Result<SymbolTable> table = SymbolTable::parse(damaged);
    if (table) EXPECT_LE(table->count(), 2u);
  }
}

TEST(SymbolTable, NamesArePrintable) {
  const Result<SymbolTable> table = SymbolTable::parse("1000 T a\x1b[2Jb\n");
  ASSERT_TRUE(table);
  EXPECT_EQ(table->name_of(0x1000), "a?[2Jb+0x0");
}

}  // namespace
}  // namespace doppel
