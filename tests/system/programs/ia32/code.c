// Code that changes: written and run again, between protections, through another mapping, ahead of itself.
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ia32.h"

enum { kPage = 4096, kRounds = 2000, kProtections = 200 };

typedef uint32_t (*function)(uint32_t);

// mov eax, [esp + 4]; add eax, N; ret
static const uint8_t kAdd[] = {0x8b, 0x44, 0x24, 4, 0x05, 0, 0, 0, 0, 0xc3};
enum { kConstant = 5, kOpcode = 4, kSubtract = 0x2d, kExclusiveOr = 0x35 };

static uint8_t* map(int protection, int file) {
  uint8_t* memory =
      mmap(NULL, kPage, protection, file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, file, 0);
  stop_if(memory == MAP_FAILED, "mmap");
  return memory;
}

static uint32_t call(const uint8_t* code, uint32_t argument) { return ((function)(uintptr_t)code)(argument); }

static void write_constant(uint8_t* code, uint32_t value) { memcpy(code + kConstant, &value, sizeof value); }

static void change_in_place(void) {
  uint8_t* code = map(PROT_READ | PROT_WRITE | PROT_EXEC, -1);
  memcpy(code, kAdd, sizeof kAdd);
  for (uint32_t i = 0; i < kRounds; i++) {
    write_constant(code, i);
    expect("a new constant", call(code, 7), 7 + i);
    code[kOpcode] = kSubtract;
    expect("a new opcode", call(code, 7), 7 - i);
    code[kOpcode] = kExclusiveOr;
    expect("a new opcode", call(code, 7), 7 ^ i);
    code[kOpcode] = kAdd[kOpcode];
  }
  munmap(code, kPage);
}

static void change_between_protections(void) {
  uint8_t* code = map(PROT_READ | PROT_WRITE, -1);
  memcpy(code, kAdd, sizeof kAdd);
  for (uint32_t i = 0; i < kProtections; i++) {
    write_constant(code, i * 3);
    stop_if(mprotect(code, kPage, PROT_READ | PROT_EXEC) != 0, "mprotect");
    expect("code between protections", call(code, 1), 1 + i * 3);
    stop_if(mprotect(code, kPage, PROT_READ | PROT_WRITE) != 0, "mprotect");
  }
  munmap(code, kPage);
  for (uint32_t i = 0; i < kProtections; i++) {
    uint8_t* fresh =
        mmap(code, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    stop_if(fresh != code, "mmap");
    memcpy(code, kAdd, sizeof kAdd);
    write_constant(code, i * 5);
    expect("code in a new page at an old address", call(code, 1), 1 + i * 5);
  }
  munmap(code, kPage);
}

static void change_through_another_mapping(void) {
  const int file = memfd_create("code", 0);
  stop_if(file < 0 || ftruncate(file, kPage) != 0, "memfd_create");
  uint8_t *written = map(PROT_READ | PROT_WRITE, file), *run = map(PROT_READ | PROT_EXEC, file);
  memcpy(written + 100, kAdd, sizeof kAdd);
  for (uint32_t i = 0; i < kRounds; i++) {
    write_constant(written + 100, i ^ 0x55555555);
    __asm__ volatile("cpuid" : : "a"(0), "c"(0) : "ebx", "edx", "memory");  // SDM 3A 9.1.3: another address
    expect("code written elsewhere", call(run + 100, i), i + (i ^ 0x55555555));
  }
  munmap(written, kPage);
  munmap(run, kPage);
  close(file);
}

// mov eax, [esp + 4]; mov [N], al; nop; mov al, 0; movzx eax, al; ret: writes the constant that it loads
// next.
static void change_ahead(void) {
  static const uint8_t ahead[] = {0x8b, 0x44, 0x24, 4, 0xa2, 0,    0,    0,
                                  0,    0x90, 0xb0, 0, 0x0f, 0xb6, 0xc0, 0xc3};
  uint8_t* code = map(PROT_READ | PROT_WRITE | PROT_EXEC, -1);
  memcpy(code, ahead, sizeof ahead);
  const uint32_t constant = (uintptr_t)code + 11;
  memcpy(code + 5, &constant, sizeof constant);
  for (uint32_t i = 0; i < kRounds; i++) expect("the next instruction", call(code, i), i & 0xff);
  munmap(code, kPage);
}

void change_code(void) {
  change_in_place();
  change_between_protections();
  change_through_another_mapping();
  change_ahead();
}
