// Unpacks compressed kernel payloads with a bound on the output.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "boot/image_view.h"

namespace doppel {

enum class Compression : u8 { kUnknown, kGzip, kLz4, kZstd, kXz, kLzma, kBzip2, kLzo };

// By the first bytes of `image`.
Compression detect_compression(const ImageView& image);
std::string_view compression_name(Compression compression);
bool can_decompress(Compression compression);

// The unpacked bytes; bytes after the end of the compressed stream are ignored. Fails when the stream is
// damaged or truncated, or yields more than `limit` bytes. can_decompress(compression) holds.
Result<std::vector<u8>> decompress(Compression compression, const ImageView& image, u64 limit);

}  // namespace doppel
