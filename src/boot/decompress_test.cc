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

std::string error(const std::vector<u8>& packed, u64 limit = kSize) {
  const auto result = decompress(detect_compression(view(packed)), view(packed), limit);
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
  const auto unpacked = decompress(GetParam().compression, view(packed), kSize);
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_EQ(*unpacked, sample());
}

TEST_P(DecompressTest, RefusesMoreThanTheLimit) {
  EXPECT_THAT(error(packed, kSize - 1), HasSubstr("more than"));
}

TEST_P(DecompressTest, RefusesTruncatedInput) {
  packed.resize(packed.size() / 2);
  EXPECT_THAT(error(packed), HasSubstr("truncated"));
}

TEST_P(DecompressTest, RefusesInputThatEndsInItsHeader) {
  packed.resize(6);
  EXPECT_THAT(error(packed), HasSubstr("truncated"));
}

TEST_P(DecompressTest, IgnoresTheSizeThatTheKernelBuildAppends) {
  const std::vector<u8> size = {kSize & 0xff, (kSize >> 8) & 0xff, kSize >> 16, 0};
  packed.insert(packed.end(), size.begin(), size.end());
  EXPECT_EQ(error(packed), "");
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

TEST(Decompress, RefusesAnLz4SizeThatDoesNotMatch) {
  auto lz4 = test::pack_lz4(sample());
  lz4.insert(lz4.end(), {1, 2, 3, 4});
  EXPECT_THAT(error(lz4), HasSubstr("truncated"));
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
