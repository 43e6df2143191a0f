// A machine of sixteen registers with computed goto, and a program for it. Also what the parts with a
// compiler compile.
#include <stddef.h>
#include <stdint.h>

uint64_t run_bytecode(uint64_t rounds);

enum operation {
  kLoad,
  kAdd,
  kSubtract,
  kMultiply,
  kXor,
  kShiftRight,
  kAnd,
  kJumpIfNot,
  kJump,
  kStore,
  kFetch,
  kStop
};

struct instruction {
  uint8_t operation, target, left, right;
  int32_t value;  // a constant, or how many instructions to jump
};

// r1 counts down from r0's rounds; each round follows the Collatz sequence of r1 to 1, adding to a table in
// memory.
static const struct instruction kProgram[] = {
    {kLoad, 2, 0, 0, 1},        //  0: r2 = 1
    {kLoad, 9, 0, 0, 3},        //  1: r9 = 3
    {kAdd, 3, 1, 10, 0},        //  2: outer: r3 = r1 + r10
    {kAnd, 4, 3, 2, 0},         //  3: inner: r4 = r3 & 1
    {kJumpIfNot, 0, 4, 0, 4},   //  4: even: to 8
    {kMultiply, 3, 3, 9, 0},    //  5: r3 = r3 * 3
    {kAdd, 3, 3, 2, 0},         //  6: r3 = r3 + 1
    {kJump, 0, 0, 0, 2},        //  7: to 9
    {kShiftRight, 3, 3, 2, 0},  //  8: r3 = r3 >> 1
    {kFetch, 5, 3, 0, 0},       //  9: r5 = memory[r3]
    {kAdd, 5, 5, 2, 0},         // 10: r5 = r5 + 1
    {kStore, 0, 3, 5, 0},       // 11: memory[r3] = r5
    {kXor, 6, 6, 5, 0},         // 12: r6 = r6 ^ r5
    {kAdd, 6, 6, 3, 0},         // 13: r6 = r6 + r3
    {kSubtract, 7, 3, 2, 0},    // 14: r7 = r3 - 1
    {kJumpIfNot, 0, 7, 0, 2},   // 15: done: to 17
    {kJump, 0, 0, 0, -13},      // 16: to 3
    {kSubtract, 1, 1, 2, 0},    // 17: r1 = r1 - 1
    {kJumpIfNot, 0, 1, 0, 2},   // 18: to 20
    {kJump, 0, 0, 0, -17},      // 19: to 2
    {kStop, 0, 0, 0, 0},        // 20
};

uint64_t run_bytecode(uint64_t rounds) {
  static const void* const handlers[] = {&&load, &&add,         &&subtract, &&multiply,
                                         &&xor,  &&shift_right, &&and,      &&jump_if_not,
                                         &&jump, &&store,       &&fetch,    &&stop};
  static uint64_t memory[256];
  uint64_t r[16] = {0};
  const struct instruction* at = kProgram;
  for (size_t i = 0; i < 256; i++) memory[i] = i;
  r[1] = rounds;
#define NEXT goto* handlers[at->operation]
  NEXT;
load:
  r[at->target] = (uint64_t)at->value;
  ++at;
  NEXT;
add:
  r[at->target] = r[at->left] + r[at->right];
  ++at;
  NEXT;
subtract:
  r[at->target] = r[at->left] - r[at->right];
  ++at;
  NEXT;
multiply:
  r[at->target] = r[at->left] * r[at->right];
  ++at;
  NEXT;
  xor : r[at->target] = r[at->left] ^ r[at->right];
  ++at;
  NEXT;
shift_right:
  r[at->target] = r[at->left] >> (r[at->right] & 63);
  ++at;
  NEXT;
  and : r[at->target] = r[at->left] & r[at->right];
  ++at;
  NEXT;
jump_if_not:
  at += r[at->left] == 0 ? at->value : 1;
  NEXT;
jump:
  at += at->value;
  NEXT;
store:
  memory[r[at->left] & 255] = r[at->right];
  ++at;
  NEXT;
fetch:
  r[at->target] = memory[r[at->left] & 255];
  ++at;
  NEXT;
stop:
#undef NEXT
  return r[6];
}
