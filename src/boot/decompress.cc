// One function a format around the packaged libraries.
#include "boot/decompress.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "base/verify.h"

namespace doppel {

namespace {

// The legacy LZ4 format has blocks of up to 8 MiB and no marker at the end.
constexpr u64 kLz4BlockSize = 8 * kMiB;
constexpr u32 kLz4LegacyMagic = 0x184c2102;
// Kernels are packed with dictionaries of up to 128 MiB.
constexpr u64 kMaxDictionaryMemory = 256 * kMiB;

enum class Outcome : u8 { kDone, kDamaged, kTruncated, kTooLarge };

// A stream that ended as it should, with `left` bytes of the output unfilled.
Outcome ended(u64 left) { return left == 0 ? Outcome::kDone : Outcome::kTruncated; }
// A stream that could not go on for want of input or of room.
Outcome starved(u64 left) { return left == 0 ? Outcome::kTooLarge : Outcome::kTruncated; }

Outcome unpack_gzip(std::span<const u8> input, std::span<u8> output) {
  z_stream stream = {};
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  VERIFY(inflateInit2(&stream, kGzipOnly) == Z_OK);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  // zlib does not write through next_in.
  stream.next_in = const_cast<u8*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = output.data();
  stream.avail_out = static_cast<uInt>(output.size());
  const int result = inflate(&stream, Z_FINISH);
  if (result == Z_STREAM_END) return ended(stream.avail_out);
  return result == Z_BUF_ERROR || result == Z_OK ? starved(stream.avail_out) : Outcome::kDamaged;
}

Outcome unpack_lz4(std::span<const u8> bytes, std::span<u8> output) {
  const ImageView input("", bytes);
  u64 offset = sizeof(kLz4LegacyMagic);
  // The appended size is no block: nothing follows it.
  while (offset + sizeof(u32) < input.size()) {
    const u32 block_size = *input.get<u32>(offset);
    offset += sizeof(u32);
    if (block_size == kLz4LegacyMagic) continue;  // frames may follow each other
    if (block_size > LZ4_COMPRESSBOUND(kLz4BlockSize)) return Outcome::kDamaged;
    const auto block = input.slice(offset, block_size);
    if (!block) return Outcome::kTruncated;
    const u64 room = std::min(output.size(), kLz4BlockSize);
    const int count = LZ4_decompress_safe(reinterpret_cast<const char*>(block->bytes().data()),
                                          reinterpret_cast<char*>(output.data()),
                                          static_cast<int>(block_size), static_cast<int>(room));
    // With less than a block of room left, damage and lack of room look the same.
    if (count < 0) return room < kLz4BlockSize ? Outcome::kTooLarge : Outcome::kDamaged;
    output = output.subspan(static_cast<u64>(count));
    offset += block_size;
  }
  return ended(output.size());
}

// In one call, without a window of its own: the output is the window.
Outcome unpack_zstd(std::span<const u8> input, std::span<u8> output) {
  const u64 frame_size = ZSTD_findFrameCompressedSize(input.data(), input.size());
  if (ZSTD_isError(frame_size) != 0) {
    return ZSTD_getErrorCode(frame_size) == ZSTD_error_srcSize_wrong ? Outcome::kTruncated
                                                                     : Outcome::kDamaged;
  }
  const u64 size = ZSTD_decompress(output.data(), output.size(), input.data(), frame_size);
  if (ZSTD_isError(size) == 0) return ended(output.size() - size);
  return ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall ? Outcome::kTooLarge : Outcome::kDamaged;
}

Outcome unpack_xz(bool is_alone, std::span<const u8> input, std::span<u8> output) {
  lzma_stream stream = LZMA_STREAM_INIT;
  const std::unique_ptr<lzma_stream, void (*)(lzma_stream*)> guard(&stream, lzma_end);
  const lzma_ret status = is_alone ? lzma_alone_decoder(&stream, kMaxDictionaryMemory)
                                   : lzma_stream_decoder(&stream, kMaxDictionaryMemory, 0);
  VERIFY(status == LZMA_OK);
  stream.next_in = input.data();
  stream.avail_in = input.size();
  stream.next_out = output.data();
  stream.avail_out = output.size();
  lzma_ret result = LZMA_OK;
  while (result == LZMA_OK) result = lzma_code(&stream, LZMA_FINISH);
  if (result == LZMA_STREAM_END) return ended(stream.avail_out);
  return result == LZMA_BUF_ERROR ? starved(stream.avail_out) : Outcome::kDamaged;
}

Outcome unpack(Compression compression, std::span<const u8> input, std::span<u8> output) {
  switch (compression) {
    case Compression::kGzip:
      return unpack_gzip(input, output);
    case Compression::kLz4:
      return unpack_lz4(input, output);
    case Compression::kZstd:
      return unpack_zstd(input, output);
    case Compression::kXz:
    case Compression::kLzma:
      return unpack_xz(compression == Compression::kLzma, input, output);
    default:
      return Outcome::kDamaged;
  }
}

struct Signature {
  Compression compression;
  std::string_view name;
  std::string_view magic;
};

constexpr std::array<Signature, 7> kSignatures = {{
    {Compression::kGzip, "gzip", {"\x1f\x8b", 2}},
    {Compression::kLz4, "LZ4", {"\x02\x21\x4c\x18", 4}},
    {Compression::kZstd, "zstd", {"\x28\xb5\x2f\xfd", 4}},
    {Compression::kXz,
     "xz",
     {"\xfd"
      "7zXZ\0",
      6}},
    {Compression::kLzma, "lzma", {"\x5d\0\0", 3}},
    {Compression::kBzip2, "bzip2", {"BZh", 3}},
    {Compression::kLzo,
     "lzo",
     {"\x89"
      "LZO\0",
      5}},
}};

}  // namespace

Compression detect_compression(const ImageView& image) {
  for (const Signature& signature : kSignatures) {
    const auto start = image.slice(0, signature.magic.size());
    if (start && std::memcmp(start->bytes().data(), signature.magic.data(), signature.magic.size()) == 0) {
      return signature.compression;
    }
  }
  return Compression::kUnknown;
}

std::string_view compression_name(Compression compression) {
  const auto* found = std::ranges::find(kSignatures, compression, &Signature::compression);
  return found == kSignatures.end() ? "an unknown format" : found->name;
}

bool can_decompress(Compression compression) {
  return compression >= Compression::kGzip && compression <= Compression::kLzma;
}

std::optional<u64> announced_size(const ImageView& image) {
  if (image.size() < sizeof(u32)) return std::nullopt;
  return image.get<u32>(image.size() - sizeof(u32));
}

Result<void> decompress(Compression compression, const ImageView& image, std::span<u8> output) {
  VERIFY(can_decompress(compression));
  if (std::max<u64>(image.size(), output.size()) > std::numeric_limits<u32>::max()) {
    return fail("{}: payload is too large", image.name());
  }
  const auto damaged = [&](std::string_view how) {
    return fail("{}: its {} payload {}; get an intact copy", image.name(), compression_name(compression),
                how);
  };
  // zlib takes no null pointer.
  switch (output.empty() ? Outcome::kTooLarge : unpack(compression, image.bytes(), output)) {
    case Outcome::kDone:
      return {};
    case Outcome::kTooLarge:
      return damaged(fmt::format("unpacks to more than the {} bytes it announces", output.size()));
    case Outcome::kTruncated:
      return damaged("is truncated");
    case Outcome::kDamaged:
      break;
  }
  return damaged("is damaged");
}

}  // namespace doppel
