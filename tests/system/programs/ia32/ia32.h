// What the parts of the 32-bit test program share: how they compare, and their names.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Each returns when all was right; what is wrong ends the program with one line.
void compute_integers(void);        // numbers.c
void compute_floats(void);          // numbers.c
void use_segments(void);            // segments.c
void use_threads(void);             // segments.c
void take_faults(void);             // signals.c
void call_the_kernel(void);         // signals.c
void jump_out(void);                // signals.c
void be_interrupted(void);          // signals.c
void change_code(void);             // code.c
void change_modes(void);            // modes.c
void talk_to(const char* partner);  // talk.c

// Ends the program when the two differ.
void expect(const char* what, uint64_t found, uint64_t wanted);
// Ends the program with errno's text when `failed`.
void stop_if(int failed, const char* what);

// FNV-1a over the bytes of a value, going on from `hash`.
static inline uint64_t mix(uint64_t hash, const void* data, size_t size) {
  const uint8_t* bytes = data;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash;
}

static inline uint64_t mix_word(uint64_t hash, uint32_t word) { return mix(hash, &word, sizeof word); }

// Operands: small numbers and numbers near the ends of the range are frequent.
static inline uint32_t next_operand(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  const uint32_t word = (uint32_t)(*state >> 32);
  switch (word & 7) {
    case 0:
      return word >> 3 & 15;
    case 1:
      return 0u - (word >> 3 & 15);
    case 2:
      return 0x80000000u + (word >> 3 & 3) - 2;
    default:
      return word * 2654435761u;
  }
}
