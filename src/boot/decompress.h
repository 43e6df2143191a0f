// Unpacks compressed kernel payloads into memory the caller provides.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "boot/image_view.h"

namespace doppel {

enum class Compression : u8 { kUnknown, kGzip, kLz4, kZstd, kXz, kLzma, kBzip2, kLzo };

// By the first bytes of `image`.
Compression detect_compression(const ImageView& image);
std::string_view compression_name(Compression compression);
bool can_decompress(Compression compression);

// What the payload of a bzImage announces as its unpacked size, in bytes: the kernel build appends it to
// every format (gzip has it already). As hostile as the rest of the file.
std::optional<u64> announced_size(const ImageView& image);

// Unpacks into `output`; bytes after the end of the compressed stream are ignored. Fails when the stream is
// damaged or truncated, or does not yield exactly output.size() bytes. can_decompress(compression) holds.
Result<void> decompress(Compression compression, const ImageView& image, std::span<u8> output);

}  // namespace doppel
