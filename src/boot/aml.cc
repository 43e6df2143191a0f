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

constexpr u8 kMethodOp = 0x14;
constexpr u8 kArgument0 = 0x68;
constexpr u8 kStoreOp = 0x70;
constexpr u8 kNotifyOp = 0x86;
constexpr u8 kCreateDwordFieldOp = 0x8a;
constexpr u8 kIfOp = 0xa0;
constexpr u8 kReturnOp = 0xa4;

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
  // ACPI 6.5 20.2.2: two segments with a dot between them take a prefix.
  constexpr u8 kDualNamePrefix = 0x2e;
  if (path.size() == 2 * kSegmentLength + 1) term.push_back(kDualNamePrefix);
  for (;; path.remove_prefix(kSegmentLength + 1)) {
    VERIFY(path.size() == kSegmentLength || path.size() == 2 * kSegmentLength + 1);
    term.insert(term.end(), path.begin(), path.begin() + kSegmentLength);
    if (path.size() == kSegmentLength) return term;
  }
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

Term package(Terms elements) { return package(std::vector<Term>(elements)); }

Term package(const std::vector<Term>& elements) {
  VERIFY(elements.size() <= 0xff);
  Term body = {static_cast<u8>(elements.size())};
  for (const Term& element : elements) append(body, element);
  return with_length({kPackageOp}, body);
}

Term resource_template(Terms descriptors) { return resource_template(std::vector<Term>(descriptors)); }

Term resource_template(const std::vector<Term>& descriptors) {
  Term data;
  for (const Term& descriptor : descriptors) append(data, descriptor);
  append(data, {kEndTag, 0});  // a zero checksum means "not checked"
  Term body = integer(data.size());
  append(body, data);
  return with_length({kBufferOp}, body);
}

Term name(std::string_view path, const Term& value) { return join({{kNameOp}, name_string(path), value}); }

Term scope(std::string_view path, const Term& body) {
  return with_length({kScopeOp}, join({name_string(path), body}));
}

Term device(std::string_view segment, const Term& body) {
  return with_length({kExtendedPrefix, kDeviceOp}, join({name_string(segment), body}));
}

Term reference(std::string_view path) { return name_string(path); }

Term argument(unsigned index) {
  VERIFY(index < 7);
  return {static_cast<u8>(kArgument0 + index)};
}

Term method(std::string_view segment, unsigned arguments, const Term& body) {
  VERIFY(arguments <= 7);
  return with_length({kMethodOp}, join({name_string(segment), {static_cast<u8>(arguments)}, body}));
}

Term when(const Term& condition, const Term& body) { return with_length({kIfOp}, join({condition, body})); }

Term give(const Term& value) { return join({{kReturnOp}, value}); }
Term store(const Term& value, const Term& target) { return join({{kStoreOp}, value, target}); }
Term notify(const Term& object, u8 value) { return join({{kNotifyOp}, object, integer(value)}); }

Term dword_field(const Term& buffer, u64 offset, std::string_view segment) {
  return join({{kCreateDwordFieldOp}, buffer, integer(offset), name_string(segment)});
}

}  // namespace doppel::aml
