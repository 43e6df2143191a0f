// Form: one kind of instruction encoding (mnemonic, operand kinds and sizes, opcode, prefixes); the unit of
// coverage.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/decode.h"

namespace doppel::differential {

// The fixed part of an encoding: what Form enumeration varied to find it.
struct Template {
  enum class Kind : u8 { kLegacy, kVex };
  Kind kind = Kind::kLegacy;
  u8 map = 0;  // 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A
  u8 opcode = 0;
  u8 prefix = 0;        // 0, 66, F2 or F3
  bool has_66 = false;  // in addition to `prefix`
  bool is_locked = false;
  bool is_wide = false;  // REX.W or VEX.W
  bool is_long = false;  // VEX.L
};

struct Form {
  std::string name;
  Template pattern;
  std::vector<u8> modrms;  // ModRM bytes seen to give this form (mod 0 stands for every memory mode)
  bool has_modrm = false;
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  const char* skip = nullptr;  // why it is not run
};

// What distinguishes forms, readable: "add r64, m64 [01]".
std::string form_name(const Instruction& instruction);

// Every offered form, in name order.
std::vector<Form> enumerate_forms(const Decoder& decoder);

// Appends the template's bytes before ModRM; `rex_rxb` holds R, X, B in bits 2..0, `vvvv` is not inverted.
struct EncodingBytes {
  std::array<u8, 32> data = {};
  u8 size = 0;
  void push(u8 value) { data[size++] = value; }
};
struct RegisterExtension {
  u8 rxb = 0;
  u8 vvvv = 0;
  bool forces_rex = false;
};
void append_opcode(const Template& pattern, RegisterExtension extension, EncodingBytes& out);

}  // namespace doppel::differential
