// FormRunner: build, run twice, compare, report.
#include "tests/differential/form_runner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "tests/differential/open_cases.h"

namespace doppel::differential {
namespace {

std::string hex_bytes(std::span<const u8> bytes) {
  std::string text;
  for (const u8 byte : bytes) text += fmt::format("{:02x} ", byte);
  return text;
}

// One write, so that workers do not interleave.
void print(const std::string& text) {
  [[maybe_unused]] const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
}

u64 seed_of(const CampaignOptions& options, const Form& form, u64 encoding, u64 case_number) {
  return hash_seed(options.seed, form.name) ^ (encoding << 24) ^ (case_number << 4);
}

}  // namespace

std::string describe_encoding(const Decoder& decoder, const Form& form, const CampaignOptions& options,
                              const Progress& progress) {
  Random random(seed_of(options, form, progress.encoding, 0));
  const auto encoding = Encoder(decoder).make(form, random);
  if (!encoding) return "(no encoding)";
  return hex_bytes(encoding->placement.code()) +
         disassemble(encoding->instruction, encoding->placement.address);
}

std::string reproduction(const Form& form, const CampaignOptions& options, const Progress& progress,
                         bool is_compat) {
  return fmt::format("differential_test --engine {} --mode {} --seed {} --form '{}' --only {}:{}",
                     options.engine, is_compat ? 32 : 64, options.seed, form.name, progress.encoding,
                     progress.case_number);
}

void FormRunner::run(const Form& form, FormResult& result) {
  const u32 encodings = (options_.cases + options_.cases_per_encoding - 1) / options_.cases_per_encoding;
  for (u32 i = 0; i < encodings; ++i) {
    if (options_.only_encoding >= 0 && i != options_.only_encoding) continue;
    progress_.encoding = i;
    Random random(seed_of(options_, form, i, 0));
    const auto encoding = encoder_.make(form, random);
    if (!encoding) {
      ++result.unencodable;
      continue;
    }
    run_encoding(form, *encoding, result);
  }
}

void FormRunner::run_encoding(const Form& form, const Encoding& encoding, FormResult& result) {
  native_.place(encoding.placement);
  engine_.place(encoding.placement);
  const Mask mask = Mask::of(encoding.instruction, encoding.placement.is_compat);
  Random random(seed_of(options_, form, progress_.encoding, 1));
  CaseBuilder builder(encoding, random);
  for (u32 i = 0; i < options_.cases_per_encoding; ++i) {
    if (options_.only_case >= 0 && i != options_.only_case) continue;
    progress_.case_number = i;
    Random case_random(seed_of(options_, form, progress_.encoding, i + 2));
    builder.build(case_, case_random);
    run_case(form, encoding, mask, result);
  }
}

void FormRunner::run_case(const Form& form, const Encoding& encoding, const Mask& mask, FormResult& result) {
  if (is_address_open(encoding.instruction, case_.state, encoding.placement.next())) return;
  progress_.is_in_engine = 0;
  native_.run(case_.state, case_.memory, expected_);
  std::memcpy(expected_window_.data(), native_.window().data(), kDataSize);
  progress_.is_in_engine = 1;
  engine_.run(case_.state, case_.memory, got_);
  ++result.cases;
  if (expected_.vector != Outcome::kNoFault) ++result.faults;
  if (is_split_lock_refused(expected_)) return;
  if (is_same({expected_, expected_window_}, {got_, engine_.window()}, mask)) return;
  ++result.mismatches;
  if (result.mismatches <= options_.details) report(form, encoding, mask);
}

void FormRunner::report(const Form& form, const Encoding& encoding, const Mask& mask) {
  const Placement& placement = encoding.placement;
  std::string text =
      fmt::format("\nMISMATCH {}\n  {:#x}: {} {}\n", form.name, placement.address,
                  hex_bytes(placement.code()), disassemble(encoding.instruction, placement.address));
  for (const auto& line : differences({expected_, expected_window_}, {got_, engine_.window()}, mask)) {
    text += "  " + line + "\n";
  }
  text += "  input:\n" + describe(case_.state);
  text += "  " + reproduction(form, options_, progress_, placement.is_compat) + "\n";
  print(text);
}

}  // namespace doppel::differential
