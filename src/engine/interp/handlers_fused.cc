// Handlers of a compare and the conditional branch behind it as one.
#include "engine/interp/handlers_branch.h"

namespace doppel::interp {
namespace {

// The op is the compare, the next one the branch; both retire.
template <Alu kOperation, class T, bool kImmediate, unsigned kCode>
void INTERP_CALL compare_and_branch(Interpreter* s, const Op* op, u64 flags, u64 base) {
  T b;
  if constexpr (kImmediate)
    b = static_cast<T>(op->immediate);
  else
    b = get<T>(s, op->source);
  alu<kOperation, T>(get<T>(s, op->destination), b, flags);
  [[clang::musttail]] return jcc<kCode>(s, op + 1, flags, base);
}

template <Alu kOperation, class T, bool kImmediate>
Handler select_code(unsigned code) {
  static constexpr auto kHandlers = []<unsigned... kCodes>(std::integer_sequence<unsigned, kCodes...>) {
    return std::array<Handler, 16>{&compare_and_branch<kOperation, T, kImmediate, kCodes>...};
  }(std::make_integer_sequence<unsigned, 16>());
  return kHandlers[code];
}

template <Alu kOperation>
Handler select_fused(unsigned width, Form form, unsigned code) {
  const bool is_immediate = form == Form::kRegImm;
  if (!is_immediate && form != Form::kRegReg) return nullptr;
  return by_width(width, [&]<class T>() -> Handler {
    return is_immediate ? select_code<kOperation, T, true>(code) : select_code<kOperation, T, false>(code);
  });
}

}  // namespace

Handler select_compare_and_branch(Alu operation, unsigned width, Form form, unsigned code) {
  switch (operation) {
    case Alu::kCmp:
      return select_fused<Alu::kCmp>(width, form, code);
    case Alu::kTest:
      return select_fused<Alu::kTest>(width, form, code);
    default:
      return nullptr;
  }
}

}  // namespace doppel::interp
