// Packs test payloads the way kernel builds do.
#pragma once

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/types.h"
#include "base/verify.h"

namespace doppel::test {

inline constexpr std::size_t kPackSlack = 64 * kKiB;

// What the kernel build appends to a format that does not end in its unpacked size.
inline void append_size(std::vector<u8>& packed, u64 size) {
  for (unsigned shift = 0; shift < 32; shift += 8) packed.push_back(static_cast<u8>(size >> shift));
}

inline std::vector<u8> pack_gzip(std::span<const u8> data) {
  std::vector<u8> out(2 * data.size() + kPackSlack);
  z_stream stream = {};
  VERIFY(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  stream.next_in = const_cast<u8*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  VERIFY(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// The legacy frame of `lz4 -l`: one block, which is enough for 8 MiB.
inline std::vector<u8> pack_lz4(std::span<const u8> data) {
  std::vector<u8> out(8 + static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(data.size()))));
  const int count = LZ4_compress_default(reinterpret_cast<const char*>(data.data()),
                                         reinterpret_cast<char*>(out.data() + 8),
                                         static_cast<int>(data.size()), static_cast<int>(out.size() - 8));
  VERIFY(count > 0);
  const u32 header[] = {0x184c2102, static_cast<u32>(count)};
  std::copy_n(reinterpret_cast<const u8*>(header), 8, out.begin());
  out.resize(8 + static_cast<std::size_t>(count));
  append_size(out, data.size());
  return out;
}

inline std::vector<u8> pack_zstd(std::span<const u8> data) {
  std::vector<u8> out(ZSTD_compressBound(data.size()));
  const size_t count = ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3);
  VERIFY(ZSTD_isError(count) == 0);
  out.resize(count);
  append_size(out, data.size());
  return out;
}

inline std::vector<u8> run_lzma(lzma_stream& stream, std::span<const u8> data) {
  std::vector<u8> out(2 * data.size() + kPackSlack);
  stream.next_in = data.data();
  stream.avail_in = data.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  VERIFY(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
  out.resize(stream.total_out);
  lzma_end(&stream);
  append_size(out, data.size());
  return out;
}

inline std::vector<u8> pack_xz(std::span<const u8> data) {
  lzma_stream stream = LZMA_STREAM_INIT;
  VERIFY(lzma_easy_encoder(&stream, 6, LZMA_CHECK_CRC32) == LZMA_OK);
  return run_lzma(stream, data);
}

inline std::vector<u8> pack_lzma(std::span<const u8> data) {
  lzma_stream stream = LZMA_STREAM_INIT;
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 6);
  VERIFY(lzma_alone_encoder(&stream, &options) == LZMA_OK);
  return run_lzma(stream, data);
}

}  // namespace doppel::test
