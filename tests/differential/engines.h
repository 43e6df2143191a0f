// The engines the test can be pointed at, by name.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "tests/differential/backend.h"

namespace doppel::differential {

// Makes the backend under test, given the native one of the same process (which some borrow).
// `native` runs the host twice (the harness against itself); `broken` is the host with deliberate errors,
// which the test must find; the others are the project's engines.
Result<std::unique_ptr<Backend>> create_backend(std::string_view engine, Backend& native);

std::vector<std::string_view> engine_names();

// In interp_engine.cc, which is built once the interpreter exists.
Result<std::unique_ptr<Backend>> create_interpreter_backend();
Result<std::unique_ptr<Backend>> create_translator_backend(unsigned block_instructions);

}  // namespace doppel::differential
