// Which pages of code may run untranslated: Popek and Goldberg's condition, page by page.
#pragma once

#include <span>

#include "base/types.h"

namespace doppel::direct {

// A sensitive instruction that does not trap at privilege 3 (CPUID, XGETBV, RDPID, SGDT and its kin, LSL,
// segment loads, far transfers, SYSENTER, XSAVE where it tells what the host has) begins on the page at a
// place where an instruction may begin.
//
// `page`: its bytes; `next`: those of the page behind, empty if unknown. Code is decoded from each of the
// first places, and the ways soon meet: so an instruction that only shows when code is entered in the middle
// of another is not found. It would see the host's answer instead of the guest's; no isolation rests on it.
bool has_sensitive_code(std::span<const u8> page, std::span<const u8> next);

}  // namespace doppel::direct
