// Form enumeration: walks the opcode maps under every prefix and keeps what decodes to something new.
#include "tests/differential/form.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "tests/differential/coverage.h"

namespace doppel::differential {
namespace {

constexpr u8 kPrefixes[] = {0x00, 0x66, 0xf2, 0xf3};

std::string register_kind(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
      return "r8";
    case ZYDIS_REGCLASS_GPR16:
      return "r16";
    case ZYDIS_REGCLASS_GPR32:
      return "r32";
    case ZYDIS_REGCLASS_GPR64:
      return "r64";
    case ZYDIS_REGCLASS_X87:
      return "st";
    case ZYDIS_REGCLASS_MMX:
      return "mm";
    case ZYDIS_REGCLASS_XMM:
      return "xmm";
    case ZYDIS_REGCLASS_YMM:
      return "ymm";
    case ZYDIS_REGCLASS_SEGMENT:
      return "sreg";
    case ZYDIS_REGCLASS_CONTROL:
      return "cr";
    case ZYDIS_REGCLASS_DEBUG:
      return "dr";
    default:
      return "reg";
  }
}

std::string operand_kind(const ZydisDecodedOperand& operand) {
  switch (operand.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
      if (operand.visibility == ZYDIS_OPERAND_VISIBILITY_IMPLICIT) {
        return ZydisRegisterGetString(operand.reg.value);
      }
      return register_kind(operand.reg.value);
    case ZYDIS_OPERAND_TYPE_MEMORY:
      if (operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN) return "agen";
      if (operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB) return "v" + register_kind(operand.mem.index);
      return fmt::format("m{}", operand.size);
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      return fmt::format("i{}", operand.size);
    default:
      return "ptr";
  }
}

bool is_prefix_or_escape(u8 opcode, bool is_compat) {
  switch (opcode) {
    case 0x0f:
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
      return true;
    default:
      return !is_compat && opcode >= 0x40 && opcode <= 0x4f;
  }
}

// ModRM probes: two memory shapes (rm 4 brings an SIB byte, which gathers need) and every register pair.
std::vector<u8> modrm_probes() {
  std::vector<u8> probes;
  for (unsigned reg = 0; reg < 8; ++reg) {
    probes.push_back(static_cast<u8>(reg << 3));
    probes.push_back(static_cast<u8>(reg << 3 | 4));
    for (unsigned rm = 0; rm < 8; ++rm) probes.push_back(static_cast<u8>(0xc0 | reg << 3 | rm));
  }
  return probes;
}

// Collects forms while templates are probed.
class Enumerator {
 public:
  explicit Enumerator(const Decoder& decoder) : decoder_(decoder), probes_(modrm_probes()) {}

  void probe(const Template& pattern) {
    for (const u8 modrm : probes_) {
      if (!probe_one(pattern, modrm)) break;
    }
  }

  std::vector<Form> take() {
    std::vector<Form> forms;
    for (auto& [name, form] : forms_) forms.push_back(std::move(form));
    return forms;
  }

 private:
  // False when the instruction has no ModRM byte, so that trying others is pointless.
  bool probe_one(const Template& pattern, u8 modrm) {
    EncodingBytes bytes;
    append_opcode(pattern, {}, bytes);
    const u8 opcode_end = bytes.size;
    bytes.push(modrm);
    bytes.push(0x48);  // SIB: index 1, base 0
    Instruction& instruction = scratch_;
    if (!decoder_.decode(bytes.data, instruction)) return true;
    if (!is_from(pattern, instruction, opcode_end) || offer_of(instruction) == Offer::kNo) return true;
    const bool has_modrm = instruction.has(ZYDIS_ATTRIB_HAS_MODRM);
    add(pattern, has_modrm, modrm);
    return has_modrm;
  }

  static bool is_from(const Template& pattern, const Instruction& instruction, u8 opcode_end) {
    const bool is_vex = instruction.info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    const bool is_legacy = instruction.info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    if (pattern.kind == Template::Kind::kVex ? !is_vex : !is_legacy) return false;
    return instruction.info.opcode == pattern.opcode && instruction.info.length >= opcode_end;
  }

  void add(const Template& pattern, bool has_modrm, u8 modrm) {
    const std::string name = form_name(scratch_);
    auto [entry, is_new] = forms_.try_emplace(name);
    Form& form = entry->second;
    if (is_new) {
      form.name = name;
      form.pattern = pattern;
      form.has_modrm = has_modrm;
      form.mnemonic = scratch_.info.mnemonic;
      form.skip = skip_reason(scratch_);
      owner_[name] = &pattern;
    }
    // Later templates may give the same form (ignored prefixes); the first one's ModRM bytes are its own.
    if (owner_[name] == &pattern || is_new) form.modrms.push_back(modrm);
  }

  const Decoder& decoder_;
  std::vector<u8> probes_;
  std::map<std::string, Form> forms_;
  std::map<std::string, const Template*> owner_;
  Instruction scratch_;
};

// All prefix combinations of the legacy encoding.
std::vector<Template> legacy_templates(bool is_compat) {
  std::vector<Template> templates;
  for (const u8 prefix : kPrefixes) {
    for (unsigned flags = 0; flags < 8; ++flags) {
      Template pattern;
      pattern.prefix = prefix;
      pattern.is_wide = (flags & 1) != 0;
      pattern.is_locked = (flags & 2) != 0;
      pattern.has_66 = (flags & 4) != 0;
      if (pattern.is_wide && is_compat) continue;
      if (pattern.has_66 && prefix != 0xf2 && prefix != 0xf3) continue;
      templates.push_back(pattern);
    }
  }
  return templates;
}

void sweep_opcodes(Template pattern, bool is_compat, std::vector<Template>& out) {
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    pattern.opcode = static_cast<u8>(opcode);
    const bool is_legacy_byte = pattern.kind == Template::Kind::kLegacy && pattern.map == 0;
    if (is_legacy_byte && is_prefix_or_escape(pattern.opcode, is_compat)) continue;
    if (pattern.kind == Template::Kind::kLegacy && pattern.map == 1 && (opcode == 0x38 || opcode == 0x3a))
      continue;
    out.push_back(pattern);
  }
}

std::vector<Template> all_templates(bool is_compat) {
  std::vector<Template> templates;
  for (Template pattern : legacy_templates(is_compat)) {
    for (u8 map = 0; map < 4; ++map) {
      pattern.map = map;
      sweep_opcodes(pattern, is_compat, templates);
    }
  }
  for (unsigned bits_lw = 0; bits_lw < 4; ++bits_lw) {
    for (const u8 prefix : kPrefixes) {
      for (u8 map = 1; map < 4; ++map) {
        Template pattern;
        pattern.kind = Template::Kind::kVex;
        pattern.map = map;
        pattern.prefix = prefix;
        pattern.is_wide = (bits_lw & 1) != 0;
        pattern.is_long = (bits_lw & 2) != 0;
        sweep_opcodes(pattern, is_compat, templates);
      }
    }
  }
  return templates;
}

u8 vex_pp(u8 prefix) {
  switch (prefix) {
    case 0x66:
      return 1;
    case 0xf3:
      return 2;
    case 0xf2:
      return 3;
    default:
      return 0;
  }
}

void append_vex(const Template& pattern, RegisterExtension extension, EncodingBytes& out) {
  const auto tail =
      static_cast<u8>((~extension.vvvv & 15) << 3 | (pattern.is_long ? 4 : 0) | vex_pp(pattern.prefix));
  // The two-byte prefix where it can say the same; SDM 2A 2.3.5.
  if (pattern.map == 1 && !pattern.is_wide && (extension.rxb & 3) == 0 && !extension.forces_rex) {
    out.push(0xc5);
    out.push(static_cast<u8>(((extension.rxb & 4) != 0 ? 0 : 0x80) | tail));
    return;
  }
  out.push(0xc4);
  out.push(static_cast<u8>((~extension.rxb & 7) << 5 | pattern.map));
  out.push(static_cast<u8>((pattern.is_wide ? 0x80 : 0) | tail));
}

}  // namespace

std::string form_name(const Instruction& instruction) {
  std::string name;
  if (instruction.has(ZYDIS_ATTRIB_HAS_LOCK)) name += "lock ";
  if (instruction.has(ZYDIS_ATTRIB_HAS_REP)) name += "rep ";
  if (instruction.has(ZYDIS_ATTRIB_HAS_REPE)) name += "repe ";
  if (instruction.has(ZYDIS_ATTRIB_HAS_REPNE)) name += "repne ";
  const auto& info = instruction.info;
  name += ZydisMnemonicGetString(info.mnemonic);
  const char* separator = " ";
  for (const ZydisDecodedOperand& operand : instruction.visible_operands()) {
    name += separator + operand_kind(operand);
    separator = ",";
  }
  const bool is_vex = info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  name += fmt::format(" [{}{}.{:02x}{}]", is_vex ? "vex" : "", static_cast<int>(info.opcode_map), info.opcode,
                      info.operand_width == 16 && !is_vex ? ".o16" : "");
  return name;
}

void append_opcode(const Template& pattern, RegisterExtension extension, EncodingBytes& out) {
  if (pattern.kind == Template::Kind::kVex) {
    append_vex(pattern, extension, out);
    out.push(pattern.opcode);
    return;
  }
  if (pattern.is_locked) out.push(0xf0);
  if (pattern.has_66) out.push(0x66);
  if (pattern.prefix != 0) out.push(pattern.prefix);
  const auto rex = static_cast<u8>(0x40 | (pattern.is_wide ? 8 : 0) | extension.rxb);
  if (rex != 0x40 || extension.forces_rex) out.push(rex);
  if (pattern.map != 0) out.push(0x0f);
  if (pattern.map == 2) out.push(0x38);
  if (pattern.map == 3) out.push(0x3a);
  out.push(pattern.opcode);
}

std::vector<Form> enumerate_forms(const Decoder& decoder) {
  Enumerator enumerator(decoder);
  const std::vector<Template> templates = all_templates(decoder.is_compat());
  for (const Template& pattern : templates) enumerator.probe(pattern);
  return enumerator.take();
}

}  // namespace doppel::differential
