// NativeRunner: code and windows into place, then native_entry.cc.
#include "tests/blocks/native_runner.h"

#include <sys/mman.h>

#include <cstring>

#include "tests/differential/native_context.h"

namespace doppel::blocks {
namespace {

u8* at(u64 address) { return reinterpret_cast<u8*>(address); }

}  // namespace

Result<std::unique_ptr<NativeRunner>> NativeRunner::create() {
  std::unique_ptr<NativeRunner> runner(new NativeRunner(TRY(NativeBackend::create())));
  // Guests have nothing there, and 64-bit code does not need it.
  munmap(at(kStubBase), kPageSize);
  return runner;
}

void NativeRunner::place(const Block& block) {
  code_ = block.code;
  end_ = block.end;
}

void NativeRunner::run(const Start& start, Ending& out) {
  NativeContext& context = native_context();
  // Each time: a block may write over itself.
  std::memcpy(at(kCodeBase), code_.data(), kCodeSize);
  std::memcpy(at(kDataBase), start.data.data(), kDataSize);
  std::memcpy(at(kStackBase), start.stack.data(), kStackSize);
  context.in = start.state;
  context.launch = start.state.rip;
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
