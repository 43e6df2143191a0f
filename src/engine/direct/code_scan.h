// Which pages of code may run untranslated: Popek and Goldberg's condition, page by page.
#pragma once

#include <span>

#include "base/types.h"

namespace doppel::direct {

// A sensitive instruction that neither traps at privilege 3 nor shows in the registers afterwards (CPUID,
// XGETBV, RDPID, SGDT and its kin, LSL, SYSENTER, XSAVE, which tells what the host has) lies on the page or
// reaches into it. One that begins here and reaches into the next page is that page's affair.
//
// Code is decoded from a little before the page, where decoding soon falls into step with what is executed,
// and from where it is entered. An instruction that only shows when code is entered in the middle of another
// is not found: it sees the host's answer instead of the guest's. No isolation rests on it.
struct ScannedCode {
  std::span<const u8> before;  // the end of the page before, empty if there is none
  std::span<const u8> page;
  u64 entry = 0;  // offset in the page
};
bool has_sensitive_code(const ScannedCode& code);

}  // namespace doppel::direct
