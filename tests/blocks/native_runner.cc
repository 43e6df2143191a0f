// NativeRunner: code and windows into place, then native_entry.cc.
#include "tests/blocks/native_runner.h"

#include <sys/mman.h>

#include <cstring>

#include "tests/differential/native_context.h"

extern "C" void doppel_native_far();
// jmp far [far_offset]: uses no register.
asm(R"(
  .text
  .globl doppel_native_far
doppel_native_far:
  ljmpl *0x35790828
)");

namespace doppel::blocks {
namespace {

static_assert(kContextBase + offsetof(NativeContext, far_offset) == 0x35790828, "written out above");

u8* at(u64 address) { return reinterpret_cast<u8*>(address); }

// What a block before may have loaded. The host uses DS and ES nowhere, and of FS and GS only the bases.
void load_data_segments() {
  const u32 selector = kUserData;
  asm volatile("movl %0, %%ds\n\tmovl %0, %%es\n\tmovl %0, %%gs" : : "r"(selector));
  asm volatile("rdfsbase %%rax\n\tmovl %0, %%fs\n\twrfsbase %%rax" : : "r"(selector) : "rax");
}

}  // namespace

Result<std::unique_ptr<NativeRunner>> NativeRunner::create() {
  std::unique_ptr<NativeRunner> runner(new NativeRunner(TRY(NativeBackend::create())));
  // Guests have nothing there. 64-bit code does not need it; 32-bit code is entered by doppel_native_far()
  // and left by faults only.
  munmap(at(kStubBase), kPageSize);
  return runner;
}

void NativeRunner::place(const Block& block) {
  code_ = block.code;
  end_ = block.end;
  is_compat_ = block.is_compat;
}

void NativeRunner::run(const Start& start, Ending& out) {
  NativeContext& context = native_context();
  // Each time: a block may write over itself.
  std::memcpy(at(kCodeBase), code_.data(), kCodeSize);
  std::memcpy(at(kDataBase), start.data.data(), kDataSize);
  std::memcpy(at(kStackBase), start.stack.data(), kStackSize);
  context.in = start.state;
  if (is_compat_) load_data_segments();
  context.launch = is_compat_ ? reinterpret_cast<u64>(doppel_native_far) : start.state.rip;
  context.far_offset = static_cast<u32>(start.state.rip);
  context.far_selector = kUserCode32;
  context.vector = Outcome::kNoFault;
  context.error_code = 0;
  context.cr2 = 0;
  context.is_active = 1;
  doppel_native_enter();
  context.is_active = 0;
  out.outcome = {context.out, context.vector, context.error_code, context.cr2};
  std::memcpy(out.data.data(), at(kDataBase), kDataSize);
  std::memcpy(out.stack.data(), at(kStackBase), kStackSize);
  std::memcpy(out.code.data(), at(kCodeBase), kCodeSize);
  settle_end(end_, out.code, out.outcome);
}

}  // namespace doppel::blocks
