// Lockstep: translated code that a reference does again, so that the first wrong block is found.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cpu/instruction_reference.h"
#include "cpu/translated_code.h"

namespace doppel {

struct CheckConfig {
  unsigned cpu = 0;  // for reports
  // Gets one report, on the vCPU's thread; after that nothing is executed, and the vCPU is to be kicked.
  std::function<void(const std::string& report)> on_mismatch;
};

// Stands before `code`, which counts instructions. Guest memory must not change while it runs: vCPUs take
// turns, and devices work between them.
std::unique_ptr<TranslatedCode> check_translated_code(std::unique_ptr<TranslatedCode> code,
                                                      std::unique_ptr<InstructionReference> reference,
                                                      const CheckConfig& config);

}  // namespace doppel
