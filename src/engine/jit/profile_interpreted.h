// InterpretedCounts: which instructions translated code left to the interpreter, and why.
#pragma once

#include <array>
#include <map>
#include <tuple>

#include "base/metrics.h"
#include "cpu/core.h"
#include "cpu/decoder.h"
#include "x86/features.h"

namespace doppel::jit {

// Counts by mnemonic where C++ code handles the instruction anyway. An instruction is decoded once and then
// remembered by its address; `generation` says when what is remembered may be wrong. Owned by a translator,
// used on its vCPU's thread.
class InterpretedCounts {
 public:
  explicit InterpretedCounts(const x86::FeatureSet& features) : features_(features) {}

  // The instruction at RIP.
  void count(Core& core, u64 generation) {
    Place& place = places_[(core.state.rip ^ core.state.rip >> 10) % kPlaces];
    if (place.rip != core.state.rip || place.cr3 != core.state.cr3 || place.generation != generation) {
      place = {core.state.rip, core.state.cr3, generation, counter_of(core)};
    }
    ++*place.counter;
  }
  void add_metrics(MetricList& list) const;

 private:
  enum class Reason : u8 {
    kNotTranslated,  // the translator does not know the instruction
    kCrossesPage,    // it does, but blocks end with their page
    kOutcome,        // it does, but not this fault, device or privileged case
    kUnknown,        // no instruction can be read there
  };
  struct Place {
    u64 rip = 0;
    u64 cr3 = 0;
    u64 generation = 0;
    u64* counter = nullptr;
  };
  static constexpr unsigned kPlaces = 1024;
  u64* counter_of(Core& core);
  unsigned fetch(Core& core, std::array<u8, ZYDIS_MAX_INSTRUCTION_LENGTH>& bytes);
  InstructionDecoder decoder_for(const Core& core) const {
    return InstructionDecoder(core.is_64bit ? 8 : 4, true, features_);
  }

  x86::FeatureSet features_;
  std::array<Place, kPlaces> places_ = {};
  // By the decoder's mnemonic and system register, and reason; nodes stay where they are.
  using Key = std::tuple<unsigned, unsigned, Reason>;
  std::map<Key, u64> counters_;
};

// The translator's other counters, by the names that `statistics` gives them.
void add_translator_metrics(const std::vector<std::pair<std::string_view, u64>>& statistics,
                            u64 emitted_bytes, MetricList& list);

}  // namespace doppel::jit
