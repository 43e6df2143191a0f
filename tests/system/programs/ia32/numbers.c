// Arithmetic: integer instructions with their flags, those that only 32-bit code has, x87, SSE and AVX2. The
// expected values were computed by a processor.
#include <emmintrin.h>

#include "ia32.h"

enum {
  kCarry = 1,
  kParity = 4,
  kAdjust = 0x10,
  kZero = 0x40,
  kSign = 0x80,
  kOverflow = 0x800,
  kShifted = kCarry | kParity | kZero | kSign,
  kLogical = kShifted | kOverflow,
  kAll = kLogical | kAdjust,
  kDefinedStatus = 0x387f,  // TOP and exceptions: some of x87 leaves its condition codes undefined
  kRounds = 3000
};

// Runs an instruction on copies of a, b and c in EAX, EDX and ECX, with c's lowest bit as the carry; mixes in
// what it leaves there, and its flags but those that are undefined.
#define OPERATE(text, defined)                                                       \
  do {                                                                               \
    uint32_t flags, x = a, y = b, z = c;                                             \
    __asm__ volatile("btl $0, %%ecx\n" text "\npushfl\npopl %[f]"                    \
                     : [f] "=&r"(flags), "+a"(x), "+d"(y), "+c"(z)                   \
                     :                                                               \
                     : "cc", "memory");                                              \
    hash = mix_word(mix_word(mix_word(mix_word(hash, x), y), z), flags & (defined)); \
  } while (0)

static uint64_t mix_operations(uint64_t hash, uint32_t a, uint32_t b, uint32_t c) {
  OPERATE("addl %%edx, %%eax", kAll);
  OPERATE("adcl %%edx, %%eax", kAll);
  OPERATE("subb %%dh, %%al", kAll);
  OPERATE("sbbw %%dx, %%ax", kAll);
  OPERATE("cmpl %%edx, %%eax", kAll);
  OPERATE("andl %%edx, %%eax", kLogical);
  OPERATE("xorb %%dl, %%ah", kLogical);
  OPERATE("incl %%eax\ndecw %%dx", kAll);
  OPERATE("negl %%edx", kAll);
  OPERATE("imull %%edx, %%eax", kCarry | kOverflow);
  OPERATE("mull %%edx", kCarry | kOverflow);
  OPERATE("orl $1, %%ecx\nmovl %%ecx, %%edx\nshrl %%edx\nshrl %%edx\ndivl %%ecx", 0);
  OPERATE("orl $1, %%ecx\ncltd\nandl $0x7fffffff, %%ecx\norl $16, %%ecx\nidivl %%ecx", 0);
  OPERATE("shll $3, %%eax\n", kShifted);
  OPERATE("sarl $7, %%eax", kShifted);
  OPERATE("rcll $5, %%eax", kCarry);
  OPERATE("rorw $9, %%ax", kCarry);
  OPERATE("shldl $11, %%edx, %%eax", kShifted);
  OPERATE("shrdl $30, %%edx, %%eax", kShifted);
  OPERATE("btsl %%edx, %%eax", kCarry);
  OPERATE("bswap %%eax\nxaddl %%eax, %%edx", kAll);
  OPERATE("cmpxchgl %%ecx, %%edx", kAll);
  OPERATE("cmovcl %%edx, %%eax\nsetc %%dl\nsetnc %%dh", 0);
  return hash;
}

// Opcodes that 64-bit code does not have, or has with another meaning.
static uint64_t mix_old_operations(uint64_t hash, uint32_t a, uint32_t b, uint32_t c) {
  OPERATE("daa", kShifted | kAdjust);
  OPERATE("das", kShifted | kAdjust);
  OPERATE("aaa", kCarry | kAdjust);
  OPERATE("aas", kCarry | kAdjust);
  OPERATE("aam", kParity | kZero | kSign);
  OPERATE("aad", kParity | kZero | kSign);
  OPERATE(".byte 0x40, 0x4a, 0x66, 0x40", kAll);  // inc eax, dec edx, inc ax: REX prefixes in 64-bit code
  OPERATE(".byte 0x82, 0xc0, 0x85", kAll);        // add al, 0x85
  OPERATE("arpl %%dx, %%ax", kZero);
  OPERATE(".byte 0xd6", 0);  // SALC
  OPERATE("leal 0x1234(%%bx,%%si), %%eax\nsubl %%ebx, %%eax\nsubw %%si, %%ax\nmovzwl %%ax, %%eax", 0);
  OPERATE(
      "pushal\nmovl $7, 28(%%esp)\npopal\npushl %%ds\npopl %%edx\nmovzwl %%dx, %%edx\npushw %%ss\npopw %%ss",
      0);
  OPERATE("pushl %%eax\nenter $8, $0\nmovl 4(%%ebp), %%edx\nleave\npopl %%eax\n", 0);
  OPERATE("andl $0x7fffffff, %%eax\naddl $0, %%eax\ninto", kAll);
  OPERATE("call 1f\n1: popl %%edx\nsubl $1b, %%edx", 0);
  OPERATE("call 1f\njmp 2f\n1: notl %%eax\nret\n2:", 0);
  OPERATE("pushl %%edx\ncall 1f\njmp 2f\n1: movl 4(%%esp), %%eax\nret $4\n2:", 0);
  OPERATE("movl $3, %%ecx\n1: addl %%edx, %%eax\nloop 1b\njecxz 2f\nincl %%eax\n2:", 0);
  OPERATE("movl $0x50003, %%ecx\n1: rorl %%eax\naddr16 loop 1b\njcxz 2f\nincl %%eax\n2: movl %%ecx, %%edx",
          0);
  return hash;
}

static uint32_t words[64];

// Absolute and wrapping addresses, string instructions, 64-bit numbers in pairs of registers.
static uint64_t mix_memory(uint64_t hash, uint32_t a, uint32_t b) {
  uint32_t found;
  words[a & 63] = b;
  __asm__ volatile("movl %1, %0" : "=a"(found) : "m"(words) : "memory");
  hash = mix_word(hash, found);
  __asm__ volatile("movl %c2(,%1,4), %0" : "=r"(found) : "r"(a & 63), "i"(words) : "memory");
  hash = mix_word(hash, found);
  __asm__ volatile("movl 0x70000000(%1), %0" : "=r"(found) : "r"((uintptr_t)words - 0x70000000u) : "memory");
  hash = mix_word(hash, found);
  __asm__ volatile("movl (%1,%2,2), %0"
                   : "=r"(found)
                   : "r"((uintptr_t)words - 0x80000000u), "r"(0x40000002u)
                   : "memory");
  hash = mix_word(hash, found);
  const uint64_t left = (uint64_t)a << 32 | b, right = (b >> 3) + 1u;
  hash = mix_word(hash, (uint32_t)(left / right) + (uint32_t)(left % right) + (uint32_t)(left * right >> 32));
  void *to = words + 32, *from = words;
  size_t count = 20;
  __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  to = words + 31, count = 9;
  __asm__ volatile("std\nrep stosw\ncld" : "+D"(to), "+c"(count) : "a"(a) : "memory");
  to = words, count = sizeof words;
  __asm__ volatile("repne scasb" : "+D"(to), "+c"(count) : "a"(b) : "memory", "cc");
  hash = mix_word(hash, (uint32_t)count);
  uint64_t pair = left;
  __asm__ volatile("cmpxchg8b %0" : "+m"(words[2]), "+A"(pair) : "b"(a), "c"(b) : "cc", "memory");
  return mix(hash, words, sizeof words);
}

void compute_integers(void) {
  uint64_t state = 1, hash = 0, old = 0, memory = 0;
  for (unsigned i = 0; i < kRounds; i++) {
    const uint32_t a = next_operand(&state), b = next_operand(&state), c = next_operand(&state);
    hash = mix_operations(hash, a, b, c);
    old = mix_old_operations(old, a, b, c);
    memory = mix_memory(memory, a, b);
  }
  expect("instructions", hash, 0x94ec2587d2b81573);
  expect("old instructions", old, 0x8ec15df25c5580dd);
  expect("memory", memory, 0x7d154950f49476dc);
}

// Some of x87 on one number: arithmetic in all precisions, roundings and formats of its memory operands.
static uint64_t mix_x87(uint64_t hash, int32_t a, int32_t b) {
  struct {
    uint8_t number[10];
    uint16_t status;
    int64_t integer;
    double wide;
    float narrow;
    uint8_t decimal[10];
  } out = {0};
  const uint16_t control = (uint16_t)(0x7f | ((uint32_t)a >> 4 & 0xf00));
  const uint16_t usual = 0x37f;
  const int32_t divisor = b | 1;
  if ((control & 0x300) == 0x100) return hash;  // a reserved precision
  __asm__ volatile(
      "fninit\nfldcw %[control]\n"
      "fildl %[a]\nfildl %[divisor]\nfdivrp %%st, %%st(1)\nfld %%st(0)\nfabs\nfsqrt\nfxch\n"
      "fmul %%st(1), %%st\nfaddp\nfildl %[divisor]\nfxch\nfprem\nfstp %%st(1)\n"
      "fld %%st(0)\nfistpll %[integer]\nfld %%st(0)\nfbstp %[decimal]\nfstl %[wide]\nfsts %[narrow]\n"
      "fld1\nfcomip %%st(1), %%st\nfnstsw %[status]\nfstpt %[number]\nfldcw %[usual]"
      : [number] "=m"(out.number), [status] "=m"(out.status), [integer] "=m"(out.integer),
        [wide] "=m"(out.wide), [narrow] "=m"(out.narrow), [decimal] "=m"(out.decimal)
      : [control] "m"(control), [usual] "m"(usual), [a] "m"(a), [divisor] "m"(divisor)
      : "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
  out.status &= kDefinedStatus;
  return mix(hash, &out, sizeof out);
}

// Numbers in x87 and in MMX registers outlive their being saved and loaded in 32-bit format.
static void save_x87(void) {
  struct {
    uint32_t environment[7];
    uint8_t numbers[8][10];
  } saved;
  uint64_t number = 0;
  uint8_t first[10];
  _Static_assert(sizeof saved == 108, "FNSAVE's 32-bit format");
  __asm__ volatile("fninit\nfldpi\nfld1\nfnsave %0\nfld1\nfrstor %0\nfstp %%st(0)\nfstpt %1"
                   : "=m"(saved), "=m"(first)
                   :
                   : "st", "st(1)", "memory");
  expect("tag word", saved.environment[2] & 0xffff, 0x0fff);
  expect("pi", mix(0, first, sizeof first), mix(0, saved.numbers[1], sizeof first));
  __asm__ volatile(
      "movl $0x12345678, %%eax\nmovd %%eax, %%mm3\npunpckldq %%mm3, %%mm3\npaddd %%mm3, %%mm3\n"
      "movq %%mm3, %0\nemms"
      : "=m"(number)
      :
      : "eax", "mm3");
  expect("MMX", number, 0x2468acf02468acf0);
}

__attribute__((target("sse2"))) static uint64_t mix_sse(uint64_t hash, uint32_t a, uint32_t b) {
  const __m128i left = _mm_set_epi32((int)a, (int)b, (int)(a ^ b), (int)(a + b));
  const __m128i right = _mm_shuffle_epi32(_mm_add_epi64(left, left), 0x1b);
  const __m128 floats = _mm_cvtepi32_ps(left);
  const __m128d pair = _mm_div_pd(_mm_cvtepi32_pd(left), _mm_set1_pd((double)(b | 1)));
  const __m128i results[] = {
      _mm_mul_epu32(left, right),
      _mm_packs_epi32(left, right),
      _mm_castps_si128(_mm_mul_ps(_mm_sqrt_ps(_mm_mul_ps(floats, floats)), _mm_cvtepi32_ps(right))),
      _mm_castpd_si128(pair),
      _mm_cvtpd_epi32(pair),
      _mm_unpacklo_epi8(left, right),
      _mm_srl_epi32(left, _mm_cvtsi32_si128((int)(b & 31))),
  };
  return mix(hash, results, sizeof results);
}

// VEX prefixes are LES and LDS with operands that those cannot have.
__attribute__((target("avx2"))) static uint64_t mix_avx(uint64_t hash, uint32_t a, uint32_t b) {
  uint32_t left[8], right[8], sum[8];
  for (unsigned i = 0; i < 8; i++) left[i] = a * i, right[i] = b ^ i;
  __asm__ volatile(
      "vmovdqu %1, %%ymm1\nvpaddd %2, %%ymm1, %%ymm7\nvpmulld %%ymm7, %%ymm1, %%ymm2\nvmovdqu %%ymm2, %0\n"
      "vzeroupper"
      : "=m"(sum)
      : "m"(left), "m"(right)
      : "xmm1", "xmm2", "xmm7");
  return mix(hash, sum, sizeof sum);
}

void compute_floats(void) {
  uint64_t state = 1, x87 = 0, sse = 0, avx = 0;
  const int has_avx = __builtin_cpu_supports("avx2");
  for (unsigned i = 0; i < kRounds; i++) {
    const uint32_t a = next_operand(&state), b = next_operand(&state);
    x87 = mix_x87(x87, (int32_t)a, (int32_t)b);
    sse = mix_sse(sse, a, b);
    if (has_avx) avx = mix_avx(avx, a, b);
  }
  save_x87();
  expect("x87", x87, 0x778f7c11c351dc2e);
  expect("SSE", sse, 0x91164a412e237524);
  if (has_avx) expect("AVX2", avx, 0x57b9bb60d699e085);
}
