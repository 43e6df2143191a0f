// Byte encodings of AML terms.
#include "boot/aml.h"

#include "base/verify.h"

namespace doppel::aml {

namespace {

constexpr u8 kZeroOp = 0x00;
constexpr u8 kOneOp = 0x01;
constexpr u8 kNameOp = 0x08;
constexpr u8 kBytePrefix = 0x0a;
constexpr u8 kWordPrefix = 0x0b;
constexpr u8 kDwordPrefix = 0x0c;
constexpr u8 kStringPrefix = 0x0d;
constexpr u8 kQwordPrefix = 0x0e;
constexpr u8 kScopeOp = 0x10;
constexpr u8 kBufferOp = 0x11;
constexpr u8 kPackageOp = 0x12;
constexpr u8 kExtendedPrefix = 0x5b;
constexpr u8 kDeviceOp = 0x82;

constexpr u8 kIrqDescriptor = 0x22;  // two bytes of data: no flags, hence edge and active high
constexpr u8 kIoDescriptor = 0x47;
constexpr u8 kEndTag = 0x79;

constexpr std::size_t kSegmentLength = 4;

void append(Term& to, const Term& from) { to.insert(to.end(), from.begin(), from.end()); }

void append_number(Term& to, u64 value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) to.push_back(static_cast<u8>(value >> (8 * i)));
}

Term prefixed(u8 prefix, u64 value, unsigned size) {
  Term term = {prefix};
  append_number(term, value, size);
  return term;
}

// ACPI 6.5 20.2.4: the length counts its own bytes.
Term package_length(std::size_t body_size) {
  constexpr std::size_t kOneByteLimit = 0x3f;
  if (body_size + 1 <= kOneByteLimit) return {static_cast<u8>(body_size + 1)};
  unsigned extra = 1;
  while (body_size + 1 + extra >= std::size_t{1} << (4 + 8 * extra)) ++extra;
  VERIFY(extra <= 3);
  const std::size_t length = body_size + 1 + extra;
  Term term = {static_cast<u8>((extra << 6) | (length & 0xf))};
  append_number(term, length >> 4, extra);
  return term;
}

Term with_length(Term opcode, const Term& body) {
  append(opcode, package_length(body.size()));
  append(opcode, body);
  return opcode;
}

Term name_string(std::string_view path) {
  Term term;
  if (path.starts_with('\\')) {
    term.push_back('\\');
    path.remove_prefix(1);
  }
  VERIFY(path.size() == kSegmentLength);
  term.insert(term.end(), path.begin(), path.end());
  return term;
}

u32 hex_digit(char digit) {
  VERIFY((digit >= '0' && digit <= '9') || (digit >= 'A' && digit <= 'F'));
  return static_cast<u32>(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

}  // namespace

Term join(Terms terms) {
  Term joined;
  for (const Term& term : terms) append(joined, term);
  return joined;
}

Term integer(u64 value) {
  if (value == 0) return {kZeroOp};
  if (value == 1) return {kOneOp};
  if (value <= 0xff) return prefixed(kBytePrefix, value, 1);
  if (value <= 0xffff) return prefixed(kWordPrefix, value, 2);
  if (value <= 0xffffffff) return prefixed(kDwordPrefix, value, 4);
  return prefixed(kQwordPrefix, value, 8);
}

Term string(std::string_view text) {
  Term term = {kStringPrefix};
  term.insert(term.end(), text.begin(), text.end());
  term.push_back(0);
  return term;
}

// ACPI 6.5 19.3.4: three 5-bit letters and four hexadecimal digits, most significant byte first.
Term eisa_id(std::string_view id) {
  VERIFY(id.size() == 7);
  u32 value = 0;
  for (const char letter : id.substr(0, 3)) value = (value << 5) | static_cast<u32>(letter - '@');
  for (const char digit : id.substr(3)) value = (value << 4) | hex_digit(digit);
  return prefixed(kDwordPrefix, __builtin_bswap32(value), 4);
}

Term package(Terms elements) {
  Term body = {static_cast<u8>(elements.size())};
  append(body, join(elements));
  return with_length({kPackageOp}, body);
}

Term resource_template(Terms descriptors) {
  Term data = join(descriptors);
  append(data, {kEndTag, 0});  // a zero checksum means "not checked"
  Term body = integer(data.size());
  append(body, data);
  return with_length({kBufferOp}, body);
}

// ACPI 6.5 6.4.2.5.
Term io_ports(u16 base, u8 size) {
  constexpr u8 kDecodes16Bits = 1;
  Term term = {kIoDescriptor, kDecodes16Bits};
  append_number(term, base, 2);  // lowest base
  append_number(term, base, 2);  // highest base
  term.push_back(1);             // alignment
  term.push_back(size);
  return term;
}

Term isa_irq(u8 irq) {
  VERIFY(irq < 16);
  return prefixed(kIrqDescriptor, u64{1} << irq, 2);
}

Term name(std::string_view path, const Term& value) { return join({{kNameOp}, name_string(path), value}); }

Term scope(std::string_view path, const Term& body) {
  return with_length({kScopeOp}, join({name_string(path), body}));
}

Term device(std::string_view segment, const Term& body) {
  return with_length({kExtendedPrefix, kDeviceOp}, join({name_string(segment), body}));
}

}  // namespace doppel::aml
