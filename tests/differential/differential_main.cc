// differential_test: compares an engine with the host's own processor, instruction form by instruction form.
#include <fmt/format.h>
#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <random>
#include <regex>
#include <set>

#include "tests/differential/campaign.h"
#include "tests/differential/engines.h"

namespace doppel::differential {
namespace {

constexpr int kExitSkipped = 77;

constexpr const char* kUsage =
    "usage: differential_test [options]\n"
    "  --engine NAME    what to compare with the host: interp, jit (one instruction a block), jit-blocks,\n"
    "                   native (host twice), broken (must fail)\n"
    "  --mode 64|32|all code size (default 64)\n"
    "  --forms REGEX    only forms whose name matches; --form NAME only this one\n"
    "  --cases N        cases a form (default 2000)\n"
    "  --seed N|fresh   seed; 'fresh' draws and prints one (default 1)\n"
    "  --only E[:C]     only encoding E (and case C) of each form\n"
    "  --details N      mismatches printed in full per form (default 1)\n"
    "  --jobs N         worker processes (default: processors)\n"
    "  --keep-engine    one engine for all forms: finds what accumulates, but reports may not repeat alone\n"
    "  --list           print the forms and why some are skipped\n";

struct Arguments {
  CampaignOptions options;
  std::string mode = "64";
  std::string regex;
  std::string exact;
  bool is_list = false;
};

u64 number(const char* text) {
  u64 value = 0;
  const std::string_view view(text);
  std::from_chars(view.data(), view.data() + view.size(), value);
  return value;
}

void set_only(CampaignOptions& options, const std::string& text) {
  options.only_encoding = static_cast<i64>(number(text.c_str()));
  const std::size_t colon = text.find(':');
  if (colon != std::string::npos) options.only_case = static_cast<i64>(number(text.c_str() + colon + 1));
}

u64 parse_seed(const std::string& text) {
  if (text != "fresh") return number(text.c_str());
  return std::random_device()();
}

constexpr option kOptions[] = {
    {"engine", required_argument, nullptr, 'e'}, {"mode", required_argument, nullptr, 'm'},
    {"forms", required_argument, nullptr, 'f'},  {"form", required_argument, nullptr, 'x'},
    {"cases", required_argument, nullptr, 'c'},  {"seed", required_argument, nullptr, 's'},
    {"only", required_argument, nullptr, 'o'},   {"details", required_argument, nullptr, 'd'},
    {"jobs", required_argument, nullptr, 'j'},   {"list", no_argument, nullptr, 'l'},
    {"keep-engine", no_argument, nullptr, 'k'},  {nullptr, 0, nullptr, 0}};

bool parse(int argc, char** argv, Arguments& out) {
  CampaignOptions& options = out.options;
  options.engine = engine_names().front();
  options.jobs = static_cast<unsigned>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  for (int letter; (letter = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (letter) {
      case 'e':
        options.engine = optarg;
        break;
      case 'm':
        out.mode = optarg;
        break;
      case 'f':
        out.regex = optarg;
        break;
      case 'x':
        out.exact = optarg;
        break;
      case 'c':
        options.cases = static_cast<u32>(number(optarg));
        break;
      case 's':
        options.seed = parse_seed(optarg);
        break;
      case 'o':
        set_only(options, optarg);
        break;
      case 'd':
        options.details = static_cast<u32>(number(optarg));
        break;
      case 'j':
        options.jobs = static_cast<unsigned>(number(optarg));
        break;
      case 'l':
        out.is_list = true;
        break;
      case 'k':
        options.keeps_engine = true;
        break;
      default:
        return false;
    }
  }
  return true;
}

std::vector<Form> select(std::vector<Form> forms, const Arguments& arguments) {
  if (!arguments.exact.empty()) {
    std::erase_if(forms, [&](const Form& form) { return form.name != arguments.exact; });
  } else if (!arguments.regex.empty()) {
    const std::regex pattern(arguments.regex);
    std::erase_if(forms, [&](const Form& form) { return !std::regex_search(form.name, pattern); });
  }
  return forms;
}

void print_list(const std::vector<Form>& forms) {
  for (const Form& form : forms) {
    fmt::print("{}{}{}\n", form.name, form.skip != nullptr ? "  -- skipped: " : "",
               form.skip != nullptr ? form.skip : "");
  }
  fmt::print("{} forms\n", forms.size());
}

// Skipped forms by reason, with the mnemonics that have no other form.
void print_skips(const std::vector<Form>& forms) {
  std::map<std::string, std::set<std::string>> reasons;
  for (const Form& form : forms) {
    if (form.skip != nullptr) reasons[form.skip].insert(ZydisMnemonicGetString(form.mnemonic));
  }
  for (const auto& [reason, mnemonics] : reasons) {
    fmt::print("skipped: {}: {}\n", reason, fmt::join(mnemonics, " "));
  }
}

// Mnemonics that should have been run and were not: always a fault of the generator.
u64 print_uncovered(const std::vector<Form>& forms, const CampaignResult& result) {
  std::set<std::string> uncovered;
  for (std::size_t i = 0; i < forms.size(); ++i) {
    if (forms[i].skip == nullptr && result.forms[i].cases == 0) uncovered.insert(forms[i].name);
  }
  fmt::print("forms without a case: {}\n",
             uncovered.empty() ? "none" : fmt::format("{}", fmt::join(uncovered, "; ")));
  return uncovered.size();
}

// True when all is well.
bool print_summary(const std::vector<Form>& forms, const CampaignResult& result, const Arguments& arguments) {
  u64 cases = 0;
  u64 mismatches = 0;
  u64 faults = 0;
  u64 crashes = 0;
  u64 skipped = 0;
  for (std::size_t i = 0; i < forms.size(); ++i) {
    const FormResult& form = result.forms[i];
    cases += form.cases;
    mismatches += form.mismatches;
    faults += form.faults;
    crashes += form.crashed;
    skipped += forms[i].skip != nullptr ? 1 : 0;
    if (form.mismatches != 0)
      fmt::print("differs: {:6} of {:6}  {}\n", form.mismatches, form.cases, forms[i].name);
  }
  print_skips(forms);
  const u64 uncovered = print_uncovered(forms, result);
  fmt::print("seed {}, engine {}: {:.1f} s, {:.0f} cases a second, {:.1f} % faulting\n",
             arguments.options.seed, arguments.options.engine, result.seconds,
             static_cast<double>(cases) / result.seconds,
             cases == 0 ? 0.0 : 100.0 * static_cast<double>(faults) / static_cast<double>(cases));
  fmt::print("forms {}, cases {}, mismatches {}, skipped {}, crashes {}\n", forms.size(), cases, mismatches,
             skipped, crashes);
  return mismatches == 0 && crashes == 0 && (uncovered == 0 || arguments.options.only_encoding >= 0);
}

// 0 same, 1 different, kExitSkipped when this host cannot tell.
int run_mode(bool is_compat, const Arguments& arguments) {
  const Decoder decoder(is_compat);
  const std::vector<Form> forms = select(enumerate_forms(decoder), arguments);
  fmt::print("{}-bit code: {} forms\n", is_compat ? 32 : 64, forms.size());
  if (arguments.is_list) {
    print_list(forms);
    return 0;
  }
  const auto result = run_campaign(forms, is_compat, arguments.options);
  if (!result) {
    fmt::print("skipped: {}\n", result.error().message);
    return kExitSkipped;
  }
  return print_summary(forms, *result, arguments) ? 0 : 1;
}

}  // namespace
}  // namespace doppel::differential

int main(int argc, char** argv) {
  using namespace doppel::differential;
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  arguments.options.create_engine = [&](Backend& native) {
    return create_backend(arguments.options.engine, native);
  };
  int status = 0;
  if (arguments.mode != "32") status = std::max(status, run_mode(false, arguments));
  if (arguments.mode != "64") status = std::max(status, run_mode(true, arguments));
  return status;
}
