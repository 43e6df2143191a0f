// Decoding for counters, and the translator's metrics.
#include "engine/jit/profile_interpreted.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/jit/classify.h"

namespace doppel::jit {
namespace {

constexpr MetricKind kInterpreted{
    "translator_interpreted",
    "Instructions that translated code left to the interpreter, by mnemonic and reason."};
constexpr MetricKind kEvents{"translator_events", "What the translator and its dispatcher did."};
constexpr MetricKind kBytes{"translator_code_bytes", "Host code that was generated, dropped code included."};

// MOV is many instructions: the segment, control or debug register says which.
ZydisRegister system_register(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
    if (kind == ZYDIS_REGCLASS_SEGMENT || kind == ZYDIS_REGCLASS_CONTROL || kind == ZYDIS_REGCLASS_DEBUG)
      return operand.reg.value;
  }
  return ZYDIS_REGISTER_NONE;
}

std::string name_of(unsigned mnemonic, unsigned system_register) {
  if (mnemonic == ZYDIS_MNEMONIC_INVALID) return "?";
  std::string name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(mnemonic));
  if (system_register != ZYDIS_REGISTER_NONE) {
    name += " ";
    name += ZydisRegisterGetString(static_cast<ZydisRegister>(system_register));
  }
  return name;
}

}  // namespace

// Up to 15 bytes at RIP, from two pages if need be; how many were there.
unsigned InterpretedCounts::fetch(Core& core, std::array<u8, ZYDIS_MAX_INSTRUCTION_LENGTH>& bytes) {
  unsigned count = 0;
  while (count < bytes.size() && core.is_canonical(core.state.rip + count)) {
    const GuestVirt address(core.state.rip + count);
    const Translation translation = core.mmu.translate_code(address, core.access_mode == kUser);
    if (!translation.is_valid || !core.memory.is_ram(translation.physical.page_base(), kPageSize)) break;
    const u64 room = kPageSize - translation.physical.page_offset();
    const auto part = static_cast<unsigned>(std::min<u64>(room, bytes.size() - count));
    std::memcpy(bytes.data() + count, core.memory.host(translation.physical), part);
    count += part;
    // The second page is looked at only for an instruction that reaches it.
    Decoded decoded;
    const auto status = decoder_for(core).decode(bytes.data(), count, 0, decoded);
    if (status != InstructionDecoder::Status::kNeedsMore) break;
  }
  return count;
}

u64* InterpretedCounts::counter_of(Core& core) {
  std::array<u8, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes;
  const unsigned count = fetch(core, bytes);
  Decoded decoded;
  if (count == 0 ||
      decoder_for(core).decode(bytes.data(), count, 0, decoded) != InstructionDecoder::Status::kOk) {
    return &counters_[{ZYDIS_MNEMONIC_INVALID, ZYDIS_REGISTER_NONE, Reason::kUnknown}];
  }
  Reason reason = Reason::kOutcome;
  if (classify(decoded, features_).kind == Kind::kInterpret) {
    reason = Reason::kNotTranslated;
  } else if ((core.state.rip & kPageOffsetMask) + decoded.instruction.length > kPageSize) {
    reason = Reason::kCrossesPage;
  }
  return &counters_[{decoded.instruction.mnemonic, system_register(decoded), reason}];
}

void InterpretedCounts::add_metrics(MetricList& list) const {
  static constexpr std::string_view kReasons[] = {"not translated", "crosses a page",
                                                  "fault, device or special case", "cannot be read"};
  for (const auto& [key, value] : counters_) {
    const auto& [mnemonic, system_register, reason] = key;
    list.add(kInterpreted, value,
             {{"instruction", name_of(mnemonic, system_register)},
              {"reason", std::string(kReasons[static_cast<unsigned>(reason)])}});
  }
}

void add_translator_metrics(const std::vector<std::pair<std::string_view, u64>>& statistics,
                            u64 emitted_bytes, MetricList& list) {
  constexpr std::string_view kPrefix = "jit_";
  for (const auto& [name, value] : statistics) {
    if (name == "jit_code_bytes") continue;  // what is left of them after the last time all was dropped
    std::string event(name.substr(name.starts_with(kPrefix) ? kPrefix.size() : 0));
    std::ranges::replace(event, '_', ' ');
    list.add(kEvents, value, {{"event", std::move(event)}});
  }
  list.add(kBytes, emitted_bytes);
}

}  // namespace doppel::jit
