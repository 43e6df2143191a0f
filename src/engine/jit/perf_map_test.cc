// Lines of perf maps.
#include "engine/jit/perf_map.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace doppel {
namespace {

TEST(PerfMap, NamesBlocksByTheirGuestFunctions) {
  const std::string path = testing::TempDir() + "doppel_perf_map_test";
  const SymbolTable symbols = *SymbolTable::parse("ffffffff81000000 T start\n");
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/nonexistent/victim", path);  // is replaced, not followed
  {
    const auto map = PerfMap::create(path, symbols);
    ASSERT_TRUE(map) << map.error().message;
    const u8 code[32] = {};
    TranslatedBlock block{.rip = 0xffffffff81000010,
                          .mode = kSupervisor,
                          .is_32bit = false,
                          .guest = {},
                          .host = code,
                          .host_address = reinterpret_cast<const u8*>(0x7f0000001000),
                          .base = 0,
                          .entry = 0,
                          .direct = 0,
                          .marks = {}};
    (*map)->translated(block);
    block.rip = 0x401000;
    block.mode = kUser;
    (*map)->translated(block);
  }
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(text,
            "7f0000001000 20 guest kernel start+0x10\n"
            "7f0000001000 20 guest user 0x401000\n");
  std::filesystem::remove(path);
}

TEST(PerfMap, AFileThatCannotBeWrittenIsAnError) {
  EXPECT_FALSE(PerfMap::create("/nonexistent/map", SymbolTable()));
}

}  // namespace
}  // namespace doppel
