// Tests each payload format: intact, damaged, truncated, too large.
#include "boot/decompress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/test_pack.h"

namespace doppel {
namespace {

using testing::HasSubstr;

constexpr u64 kSize = 100000;

std::vector<u8> sample() {
  std::vector<u8> bytes(kSize);
  u32 state = 1;
  for (u8& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<u8>(state >> 30);  // two bits: compressible
  }
  return bytes;
}

ImageView view(const std::vector<u8>& bytes) { return {"kernel 'x'", bytes}; }

// What is said about `packed` when it should unpack to `size` bytes.
std::string error(const std::vector<u8>& packed, u64 size = kSize) {
  std::vector<u8> unpacked(size);
  const auto result = decompress(detect_compression(view(packed)), view(packed), unpacked);
  return result ? "" : result.error().message;
}

struct Format {
  Compression compression;
  std::vector<u8> (*pack)(std::span<const u8>);
};

class DecompressTest : public testing::TestWithParam<Format> {
 public:
  std::vector<u8> packed = GetParam().pack(sample());
};

TEST_P(DecompressTest, IsDetectedAndUnpacked) {
  EXPECT_EQ(detect_compression(view(packed)), GetParam().compression);
  ASSERT_EQ(announced_size(view(packed)), kSize);
  std::vector<u8> unpacked(kSize);
  const auto result = decompress(GetParam().compression, view(packed), unpacked);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(unpacked, sample());
}

TEST_P(DecompressTest, RefusesMoreThanWasAnnounced) {
  EXPECT_THAT(error(packed, kSize - 1), HasSubstr("more than the 99999 bytes"));
  EXPECT_THAT(error(packed, 0), HasSubstr("more than the 0 bytes"));
}

TEST_P(DecompressTest, RefusesLessThanWasAnnounced) {
  EXPECT_THAT(error(packed, kSize + 1), HasSubstr("truncated"));
}

TEST_P(DecompressTest, RefusesTruncatedInput) {
  packed.resize(packed.size() / 2);
  EXPECT_THAT(error(packed), HasSubstr("truncated"));
}

TEST_P(DecompressTest, RefusesInputThatEndsInItsHeader) {
  packed.resize(6);
  EXPECT_THAT(error(packed), HasSubstr("truncated"));
}

TEST_P(DecompressTest, SurvivesDamageAnywhere) {
  for (u64 at = 0; at < packed.size(); at += packed.size() / 50) {
    auto damaged = packed;
    damaged[at] ^= 0xff;
    const ImageView image = view(damaged);
    if (std::vector<u8> unpacked(kSize); can_decompress(detect_compression(image)))
      std::ignore = decompress(detect_compression(image), image, unpacked);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, DecompressTest,
    testing::Values(Format{Compression::kGzip, test::pack_gzip}, Format{Compression::kLz4, test::pack_lz4},
                    Format{Compression::kZstd, test::pack_zstd}, Format{Compression::kXz, test::pack_xz},
                    Format{Compression::kLzma, test::pack_lzma}),
    [](const auto& info) { return std::string(compression_name(info.param.compression)); });

TEST(Decompress, RefusesDamage) {
  auto gzip = test::pack_gzip(sample());
  gzip[gzip.size() - 6] ^= 1;  // in the checksum
  EXPECT_THAT(error(gzip), HasSubstr("damaged"));
  auto xz = test::pack_xz(sample());
  xz[xz.size() / 2] ^= 1;
  EXPECT_THAT(error(xz), HasSubstr("damaged"));
}

TEST(Decompress, NamesFormatsItCannotUnpack) {
  const std::vector<u8> bzip2 = {'B', 'Z', 'h', '9'};
  EXPECT_EQ(detect_compression(view(bzip2)), Compression::kBzip2);
  EXPECT_FALSE(can_decompress(Compression::kBzip2));
  EXPECT_FALSE(can_decompress(Compression::kUnknown));
  EXPECT_EQ(compression_name(Compression::kBzip2), "bzip2");
}

}  // namespace
}  // namespace doppel
