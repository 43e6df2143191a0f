// The fixed entropy sequence: SplitMix64.
#include "base/instruction_inputs.h"

namespace doppel {

void InstructionInputs::entropy(std::span<u8> out) {
  for (u8& byte : out) {
    entropy_state_ += 0x9e3779b97f4a7c15;
    u64 mixed = entropy_state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    byte = static_cast<u8>(mixed ^ (mixed >> 31));
  }
}

}  // namespace doppel
