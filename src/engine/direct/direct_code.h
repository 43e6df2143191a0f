// Direct execution: user code that computes for long runs on the host's processor as it is.
#pragma once

#include <memory>

#include "base/result.h"
#include "cpu/translated_code.h"
#include "engine/direct/stub_factory.h"

namespace doppel {

// `translated` with a fast lane: address spaces whose code rarely leaves user mode run in processes of the
// host (docs/design/direct.md). Where the host does not allow that, or while it does not pay, translated code
// runs as before; `is_always`: whether it pays or not. Not for translators that count instructions.
std::unique_ptr<TranslatedCode> create_direct_code(std::unique_ptr<TranslatedCode> translated,
                                                   direct::StubFactory& factory, bool is_always = false);

}  // namespace doppel
