// What two processes of different width compute of what they tell each other.
#pragma once

#include <stdint.h>
#include <unistd.h>

struct speaker {
  uint64_t history;
  double sum;  // of integers, so that it is exact in any precision
};

static inline uint64_t answer_to(struct speaker* speaker, uint64_t said) {
  uint64_t word = said ^ speaker->history;
  for (unsigned i = 1; i < 20; i++) word = (word << 7 | word >> 57) * 0x9e3779b97f4a7c15 + word / i;
  speaker->sum += (double)(uint32_t)word;
  speaker->history = word + (uint64_t)speaker->sum;
  return speaker->history;
}

// Answers the other end of two pipes until it closes them; 0 when it got all the words it began.
static inline int answer_all(int from, int to) {
  static __thread struct speaker speaker = {1, 0};
  uint64_t said;
  ssize_t count;
  while ((count = read(from, &said, sizeof said)) == sizeof said) {
    const uint64_t answer = answer_to(&speaker, said);
    if (write(to, &answer, sizeof answer) != sizeof answer) return 1;
  }
  return count != 0;
}
