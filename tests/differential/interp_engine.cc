// The interpreter and the translator as engines of the differential test.
#include "engine/interp/interpreter.h"
#include "engine/jit/jit.h"
#include "tests/differential/engines.h"
#include "tests/differential/vcpu_backend.h"
#include "x86/cpuid.h"

namespace doppel::differential {

Result<std::unique_ptr<Backend>> create_interpreter_backend() {
  // As much of the host as doppel offers anywhere: forms are compared wherever the host has them.
  auto cpuid = std::make_shared<x86::CpuidTable>(TRY(x86::CpuidTable::create("host", {})));
  const EngineFactory factory = [cpuid](GuestMemory& memory, CpuPlatform& platform) {
    return create_interpreter({memory, platform, *cpuid});
  };
  return VcpuBackend::create(factory);
}

Result<std::unique_ptr<Backend>> create_translator_backend(unsigned block_instructions) {
  auto cpuid = std::make_shared<x86::CpuidTable>(TRY(x86::CpuidTable::create("host", {})));
  const EngineFactory factory = [cpuid, block_instructions](
                                    GuestMemory& memory,
                                    CpuPlatform& platform) -> Result<std::unique_ptr<Vcpu>> {
    std::unique_ptr<TranslatedCode> translated =
        TRY(create_translator({.features = cpuid->features(),
                               .counts_instructions = true,
                               .block_instructions = block_instructions}));
    return create_interpreter({memory, platform, *cpuid}, std::move(translated));
  };
  return VcpuBackend::create(factory);
}

}  // namespace doppel::differential
