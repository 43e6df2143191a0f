// One function a format around the packaged libraries.
#include "boot/decompress.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "base/verify.h"

namespace doppel {

namespace {

// Output is produced in steps of at most this many bytes.
constexpr u64 kStep = kMiB;
// The legacy LZ4 format has blocks of up to 8 MiB and no marker at the end.
constexpr u64 kLz4BlockSize = 8 * kMiB;
constexpr u32 kLz4LegacyMagic = 0x184c2102;
// Kernels are packed with dictionaries of up to 128 MiB.
constexpr u64 kMaxDictionaryMemory = 256 * kMiB;
constexpr int kMaxZstdWindowLog = 27;

// The growing result. One byte above the limit may be produced, to tell "too much" from "just enough".
class BoundedOutput {
 public:
  explicit BoundedOutput(u64 limit) : limit_(limit) {}

  // Room for at most `step` more bytes; at least one while is_too_large() is false.
  std::span<u8> room(u64 step = kStep) {
    const u64 size = std::min(step, limit_ + 1 - used_);
    if (bytes_.capacity() < used_ + size)
      bytes_.reserve(std::min(std::max(4 * used_, kFirstCapacity), limit_ + 1));
    if (bytes_.size() < used_ + size) bytes_.resize(used_ + size);
    return std::span(bytes_).subspan(used_, size);
  }
  void advance(u64 count) { used_ += count; }
  u64 size() const { return used_; }
  bool is_too_large() const { return used_ > limit_; }
  std::vector<u8> take() {
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  // Capacity is only address space until it is used: a kernel is unpacked without being copied as it grows.
  static constexpr u64 kFirstCapacity = 96 * kMiB;

  u64 limit_;
  u64 used_ = 0;
  std::vector<u8> bytes_;
};

enum class Outcome : u8 { kDone, kDamaged, kTruncated, kTooLarge };

Outcome unpack_gzip(std::span<const u8> input, BoundedOutput& output) {
  z_stream stream = {};
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  VERIFY(inflateInit2(&stream, kGzipOnly) == Z_OK);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  // zlib does not write through next_in.
  stream.next_in = const_cast<u8*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  while (!output.is_too_large()) {
    const auto room = output.room();
    stream.next_out = room.data();
    stream.avail_out = static_cast<uInt>(room.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    output.advance(room.size() - stream.avail_out);
    if (result == Z_STREAM_END) return output.is_too_large() ? Outcome::kTooLarge : Outcome::kDone;
    if (result == Z_BUF_ERROR) return Outcome::kTruncated;
    if (result != Z_OK) return Outcome::kDamaged;
  }
  return Outcome::kTooLarge;
}

// The kernel build appends the unpacked size, which is how its own unpacker finds the end, too.
Outcome finish_lz4(const ImageView& input, u64 offset, const BoundedOutput& output) {
  if (offset == input.size()) return Outcome::kDone;
  const auto size = input.get<u32>(offset);
  return size && offset + sizeof(u32) == input.size() && *size == output.size() ? Outcome::kDone
                                                                                : Outcome::kTruncated;
}

Outcome unpack_lz4(std::span<const u8> bytes, BoundedOutput& output) {
  const ImageView input("", bytes);
  u64 offset = sizeof(kLz4LegacyMagic);
  while (offset + sizeof(u32) < input.size()) {
    const u32 block_size = *input.get<u32>(offset);
    offset += sizeof(u32);
    if (block_size == kLz4LegacyMagic) continue;  // frames may follow each other
    if (block_size > LZ4_COMPRESSBOUND(kLz4BlockSize)) return Outcome::kDamaged;
    const auto block = input.slice(offset, block_size);
    if (!block) return Outcome::kTruncated;
    const auto room = output.room(kLz4BlockSize);
    const int count = LZ4_decompress_safe(reinterpret_cast<const char*>(block->bytes().data()),
                                          reinterpret_cast<char*>(room.data()), static_cast<int>(block_size),
                                          static_cast<int>(room.size()));
    // With less than a block of room left, damage and lack of room look the same.
    if (count < 0) return room.size() < kLz4BlockSize ? Outcome::kTooLarge : Outcome::kDamaged;
    output.advance(static_cast<u64>(count));
    if (output.is_too_large()) return Outcome::kTooLarge;
    offset += block_size;
  }
  return finish_lz4(input, offset, output);
}

Outcome unpack_zstd(std::span<const u8> bytes, BoundedOutput& output) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  VERIFY(context != nullptr);
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kMaxZstdWindowLog);
  ZSTD_inBuffer input = {bytes.data(), bytes.size(), 0};
  while (!output.is_too_large()) {
    const auto room = output.room();
    ZSTD_outBuffer buffer = {room.data(), room.size(), 0};
    const size_t result = ZSTD_decompressStream(context.get(), &buffer, &input);
    output.advance(buffer.pos);
    if (ZSTD_isError(result) != 0) return Outcome::kDamaged;
    if (result == 0) return output.is_too_large() ? Outcome::kTooLarge : Outcome::kDone;
    if (input.pos == input.size && buffer.pos < buffer.size) return Outcome::kTruncated;
  }
  return Outcome::kTooLarge;
}

Outcome unpack_lzma(lzma_stream& stream, std::span<const u8> bytes, BoundedOutput& output) {
  stream.next_in = bytes.data();
  stream.avail_in = bytes.size();
  while (!output.is_too_large()) {
    const auto room = output.room();
    stream.next_out = room.data();
    stream.avail_out = room.size();
    const lzma_ret result = lzma_code(&stream, LZMA_FINISH);
    output.advance(room.size() - stream.avail_out);
    if (result == LZMA_STREAM_END) return output.is_too_large() ? Outcome::kTooLarge : Outcome::kDone;
    if (result == LZMA_BUF_ERROR) return Outcome::kTruncated;
    if (result != LZMA_OK) return Outcome::kDamaged;
  }
  return Outcome::kTooLarge;
}

Outcome unpack_xz(bool is_alone, std::span<const u8> bytes, BoundedOutput& output) {
  lzma_stream stream = LZMA_STREAM_INIT;
  const std::unique_ptr<lzma_stream, void (*)(lzma_stream*)> guard(&stream, lzma_end);
  const lzma_ret result = is_alone ? lzma_alone_decoder(&stream, kMaxDictionaryMemory)
                                   : lzma_stream_decoder(&stream, kMaxDictionaryMemory, 0);
  VERIFY(result == LZMA_OK);
  return unpack_lzma(stream, bytes, output);
}

Outcome unpack(Compression compression, std::span<const u8> bytes, BoundedOutput& output) {
  switch (compression) {
    case Compression::kGzip:
      return unpack_gzip(bytes, output);
    case Compression::kLz4:
      return unpack_lz4(bytes, output);
    case Compression::kZstd:
      return unpack_zstd(bytes, output);
    case Compression::kXz:
    case Compression::kLzma:
      return unpack_xz(compression == Compression::kLzma, bytes, output);
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

Result<std::vector<u8>> decompress(Compression compression, const ImageView& image, u64 limit) {
  VERIFY(can_decompress(compression));
  if (image.size() > std::numeric_limits<u32>::max()) return fail("{}: payload is too large", image.name());
  BoundedOutput output(limit);
  switch (unpack(compression, image.bytes(), output)) {
    case Outcome::kDone:
      return output.take();
    case Outcome::kTooLarge:
      return fail("{}: its {} payload unpacks to more than {} MiB; give the guest more memory", image.name(),
                  compression_name(compression), limit / kMiB);
    case Outcome::kTruncated:
      return fail("{}: its {} payload is truncated; get an intact copy", image.name(),
                  compression_name(compression));
    case Outcome::kDamaged:
      break;
  }
  return fail("{}: its {} payload is damaged; get an intact copy", image.name(),
              compression_name(compression));
}

}  // namespace doppel
