// Parts that only compute, as programs do: a hash, a compressor, an interpreter.
#include <string.h>
#include <zlib.h>

#include "bench.h"

static uint64_t sha256_of_memory(void) {
  const size_t size = 4 * kMegabyte;
  uint8_t* data = pages(size);
  memset(data, 7, size);
  uint8_t digest[32];
  sha256(data, size, digest);
  return (uint64_t)digest[0] << 24 | (uint64_t)digest[1] << 16 | (uint64_t)digest[2] << 8 | digest[3];
}

// Lines of words, some more frequent than others.
static void fill_with_text(uint8_t* text, size_t size) {
  static const char* const words[] = {"virtual ", "machine ", "page ",      "table ",
                                      "the ",     "of ",      "interrupt ", "cache\n"};
  size_t at = 0;
  while (at < size) {
    const uint64_t random = next_random();
    const char* word = words[(random >> 8) & (random >> 16) & 7];
    for (; *word != '\0' && at < size; word++) text[at++] = (uint8_t)*word;
    if ((random & 15) == 0 && at < size) text[at++] = (uint8_t)('a' + (random >> 24) % 26);
  }
}

static uint64_t zlib_both_ways(void) {
  uLongf size = kMegabyte;
  uint8_t* text = pages(size);
  uint8_t* back = pages(size);
  uLongf packed_size = compressBound(size);
  uint8_t* packed = pages(packed_size);
  fill_with_text(text, size);
  const int is_packed = compress2(packed, &packed_size, text, size, 6) == Z_OK;
  const int is_back = uncompress(back, &size, packed, packed_size) == Z_OK && memcmp(text, back, size) == 0;
  return (uint64_t)packed_size << 8 | (uint64_t)(is_packed << 1) | (uint64_t)is_back;
}

static uint64_t bytecode(void) { return run_bytecode(20000); }

const struct part kComputeParts[] = {
    {.name = "sha256", .run = sha256_of_memory},
    {.name = "zlib", .run = zlib_both_ways},
    {.name = "bytecode", .run = bytecode},
    {0},
};
