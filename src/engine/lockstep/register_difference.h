// Where two vCPU states differ, for a person.
#pragma once

#include <string>
#include <vector>

#include "cpu/cpu_state.h"

namespace doppel::lockstep {

struct RegisterDifference {
  std::string name;
  std::string translated;
  std::string interpreted;
};

// Registers in the order in which CpuState describes itself; arrays by element.
std::vector<RegisterDifference> register_differences(const CpuState& translated, const CpuState& interpreted);

}  // namespace doppel::lockstep
