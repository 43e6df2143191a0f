// Decoding for counters, and the translator's metrics.
#include "engine/jit/profile_interpreted.h"

#include <algorithm>
#include <string>

#include "engine/jit/classify.h"

namespace doppel::jit {
namespace {

constexpr MetricKind kInterpreted{
    "translator_interpreted",
    "Instructions that translated code left to the interpreter, by mnemonic and reason."};
constexpr MetricKind kEvents{"translator_events", "What the translator and its dispatcher did."};
constexpr MetricKind kBytes{"translator_code_bytes", "Host code that was generated, dropped code included."};

}  // namespace

u64* InterpretedCounts::counter_of(Core& core) {
  constexpr auto kNone = static_cast<unsigned>(ZYDIS_MNEMONIC_INVALID);
  const GuestVirt rip(core.state.rip);
  u64* const unknown = &counters_[{kNone, Reason::kUnknown}];
  if (!core.is_canonical(core.state.rip)) return unknown;
  const Translation translation = core.mmu.translate_code(rip, core.access_mode == kUser);
  if (!translation.is_valid || !core.memory.is_ram(translation.physical.page_base(), kPageSize))
    return unknown;
  const InstructionDecoder decoder(8, true, features_);
  Decoded decoded;
  const u64 room = kPageSize - translation.physical.page_offset();
  const auto status = decoder.decode(core.memory.host(translation.physical), room, 0, decoded);
  if (status != InstructionDecoder::Status::kOk) return unknown;
  const bool is_known = classify(decoded, features_).kind != Kind::kInterpret;
  return &counters_[{decoded.instruction.mnemonic, is_known ? Reason::kOutcome : Reason::kNotTranslated}];
}

void InterpretedCounts::add_metrics(MetricList& list) const {
  static constexpr std::string_view kReasons[] = {"not translated", "fault, device or special case",
                                                  "crosses a page or cannot be read"};
  for (const auto& [key, value] : counters_) {
    const char* name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(key.first));
    list.add(kInterpreted, value,
             {{"instruction", key.second == Reason::kUnknown || name == nullptr ? "?" : name},
              {"reason", std::string(kReasons[static_cast<unsigned>(key.second)])}});
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
