// Engine registry of the differential test, with the two harness checks that need no engine.
#include "tests/differential/engines.h"

#include <cstring>

#include "tests/differential/layout.h"
#include "x86/registers.h"

#ifndef DOPPEL_HAS_INTERPRETER
#define DOPPEL_HAS_INTERPRETER 0
#endif

namespace doppel::differential {
namespace {

// Runs the host once more and keeps a copy of its window, since the two runs share one.
class RepeatBackend : public Backend {
 public:
  RepeatBackend(Backend& native, bool is_broken) : native_(native), is_broken_(is_broken) {}

  void place(const Placement& placement) override {
    opcode_ = placement.bytes[0];
    native_.place(placement);
  }

  void run(const UserState& in, std::span<const u8> memory, Outcome& out) override {
    native_.run(in, memory, out);
    std::memcpy(window_.data(), native_.window().data(), window_.size());
    if (is_broken_) damage(out);
  }

  std::span<const u8> window() const override { return window_; }

 private:
  // One error of each kind the comparison must see, each in some instructions only.
  void damage(Outcome& out) {
    switch (opcode_ & 7) {
      case 0:
        if ((out.state.rflags & x86::kFlagSf) != 0) out.state.rflags ^= x86::kFlagAf;
        break;
      case 1:
        if ((out.state.gpr[x86::kRsi] & 0xf) == 3) out.state.gpr[x86::kRdi] ^= 1;
        break;
      case 2:
        if (out.vector != Outcome::kNoFault) out.error_code ^= 4;
        break;
      case 3:
        window_[kDataSize - 1] ^= 0x80;
        break;
      case 4:
        out.state.xsave.ymm_high[15][15] ^= 1;
        break;
      case 5:
        out.state.xsave.legacy.fsw ^= 0x4000;
        break;
      default:
        break;
    }
  }

  Backend& native_;
  bool is_broken_;
  u8 opcode_ = 0;
  std::array<u8, kDataSize> window_ = {};
};

}  // namespace

Result<std::unique_ptr<Backend>> create_backend(std::string_view engine, Backend& native) {
  if (engine == "native") return std::make_unique<RepeatBackend>(native, false);
  if (engine == "broken") return std::make_unique<RepeatBackend>(native, true);
#if DOPPEL_HAS_INTERPRETER
  if (engine == "interp") return create_interpreter_backend();
  if (engine == "jit") return create_translator_backend(1);
  if (engine == "jit-blocks") return create_translator_backend(64);
#endif
  return fail_usage("no engine '{}' in this build", engine);
}

std::vector<std::string_view> engine_names() {
  std::vector<std::string_view> names = {"native", "broken"};
  if (DOPPEL_HAS_INTERPRETER) names.insert(names.begin(), {"interp", "jit", "jit-blocks"});
  return names;
}

}  // namespace doppel::differential
