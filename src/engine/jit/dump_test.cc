// Requests for dumps, and their text.
#include "engine/jit/dump.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

namespace doppel {
namespace {

constexpr u64 kRip = 0xffffffff81000000;

// add eax, 1; ret, as two host instructions and a slow path.
struct Fixture {
  std::array<u8, 4> guest = {0x83, 0xc0, 0x01, 0xc3};
  std::array<u8, 8> host = {0x90, 0x83, 0xc0, 0x01, 0xc3, 0xcc, 0xcc, 0xcc};
  std::array<jit::CodeMark, 3> marks = {{{kRip, 101, kSupervisor, false},
                                         {kRip + 3, 104, kSupervisor, false},
                                         {kRip + 3, 105, kSupervisor, true}}};
  TranslatedBlock block{.rip = kRip,
                        .mode = kSupervisor,
                        .is_32bit = false,
                        .guest = guest,
                        .host = host,
                        .host_address = host.data(),
                        .base = 100,
                        .entry = 100,
                        .direct = 101,
                        .marks = marks};
};

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(TranslationDump, RequestsHaveAFileAndLimits) {
  const Result<DumpRequest> request = parse_dump_request("/tmp/a,rip=0xffffffff81000010,count=3");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->path, "/tmp/a");
  EXPECT_EQ(request->rip, 0xffffffff81000010);
  EXPECT_EQ(request->count, 3u);
  EXPECT_EQ(parse_dump_request("/tmp/a")->rip, std::nullopt);
}

TEST(TranslationDump, BadRequestsAreUsageErrors) {
  for (const char* text :
       {"", ",count=1", "/tmp/a,count=0", "/tmp/a,count=x", "/tmp/a,rip=12", "/tmp/a,rip=0x",
        "/tmp/a,rip=0x12345678123456789", "/tmp/a,rip=0x12z", "/tmp/a,colour=red"}) {
    const Result<DumpRequest> request = parse_dump_request(text);
    ASSERT_FALSE(request) << text;
    EXPECT_TRUE(request.error().is_usage) << text;
  }
}

TEST(TranslationDump, ShowsHostCodeBelowItsGuestInstruction) {
  const Fixture fixture;
  const std::string text = TranslationDump::text_of(fixture.block);
  const std::size_t guest_add = text.find("ffffffff81000000  83c001");
  const std::size_t host_add = text.find("83c001", guest_add + 30);
  const std::size_t guest_ret = text.find("ffffffff81000003  c3");
  const std::size_t slow_path = text.find("slow path, 0xffffffff81000003");
  ASSERT_NE(slow_path, std::string::npos) << text;
  EXPECT_LT(text.find("nop"), guest_add);
  EXPECT_LT(guest_add, host_add);
  EXPECT_LT(host_add, guest_ret);
  EXPECT_LT(guest_ret, slow_path);
  EXPECT_LT(slow_path, text.rfind("int3"));
}

TEST(TranslationDump, GuestCodeIsShownInItsOwnSize) {
  Fixture fixture;
  fixture.block.is_32bit = true;
  static constexpr u8 kIncrement[] = {0x40, 0x83, 0xc0, 0x01};
  fixture.block.guest = kIncrement;
  const std::string text = TranslationDump::text_of(fixture.block);
  EXPECT_NE(text.find("inc eax"), std::string::npos) << text;
}

TEST(TranslationDump, WritesTheBlocksThatAreAskedFor) {
  const std::string path = testing::TempDir() + "doppel_dump_test";
  Fixture fixture;
  {
    const auto dump = TranslationDump::create({.path = path, .rip = kRip + 3, .count = 1});
    ASSERT_TRUE(dump) << dump.error().message;
    fixture.block.rip = kRip + 4;
    (*dump)->translated(fixture.block);
    EXPECT_EQ(contents(path), "");
    fixture.block.rip = kRip;
    (*dump)->translated(fixture.block);
    (*dump)->translated(fixture.block);
  }
  EXPECT_EQ(contents(path), TranslationDump::text_of(fixture.block));
  std::filesystem::remove(path);
}

TEST(TranslationDump, AFileThatCannotBeWrittenIsAnError) {
  EXPECT_FALSE(TranslationDump::create({.path = "/nonexistent/dump", .rip = std::nullopt}));
}

TEST(CodeMap, FindsTheMarkBeforeAPlace) {
  jit::CodeMap map;
  EXPECT_EQ(map.find(5), nullptr);
  map.add({kRip, 10, kSupervisor, false});
  map.add({kRip + 2, 20, kSupervisor, false});
  EXPECT_EQ(map.find(9), nullptr);
  EXPECT_EQ(map.find(10)->rip, kRip);
  EXPECT_EQ(map.find(19)->rip, kRip);
  EXPECT_EQ(map.find(2000)->rip, kRip + 2);
}

}  // namespace
}  // namespace doppel
