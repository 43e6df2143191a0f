// blocks_fuzz: random blocks of guest code on the host, the interpreter and the translator.
#include <fmt/format.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>

#include "tests/blocks/worker.h"

namespace doppel::blocks {
namespace {

constexpr int kExitSkipped = 77;
constexpr int kExitNoHost = 3;
constexpr unsigned kMaxJobs = 64;

constexpr const char* kUsage =
    "usage: blocks_fuzz [options]\n"
    "  --seconds N        how long (default 10)\n"
    "  --blocks N         stop after that many\n"
    "  --seed N|fresh     seed; 'fresh' draws and prints one (default 1)\n"
    "  --jobs N           worker processes (default: processors)\n"
    "  --instructions N   about as many in a block at most (default 40)\n"
    "  --bits 64|32       only code of that kind (default: three blocks in four are 64-bit code)\n"
    "  --from N           first block; --only N this block alone\n"
    "  --details N        mismatches that each worker reports (default 3)\n"
    "  --show             print the blocks\n";

constexpr option kOptions[] = {{"seconds", required_argument, nullptr, 't'},
                               {"blocks", required_argument, nullptr, 'b'},
                               {"seed", required_argument, nullptr, 's'},
                               {"jobs", required_argument, nullptr, 'j'},
                               {"instructions", required_argument, nullptr, 'i'},
                               {"bits", required_argument, nullptr, 'm'},
                               {"from", required_argument, nullptr, 'f'},
                               {"only", required_argument, nullptr, 'o'},
                               {"details", required_argument, nullptr, 'd'},
                               {"show", no_argument, nullptr, 'p'},
                               {nullptr, 0, nullptr, 0}};

bool set_option(int letter, FuzzOptions& options) {
  const char* text = letter == 'p' ? "0" : optarg;
  if (text == nullptr) return false;
  char* end = nullptr;
  const bool is_fresh = letter == 's' && std::strcmp(text, "fresh") == 0;
  const u64 value = is_fresh ? std::random_device()() : std::strtoull(text, &end, 0);
  if (!is_fresh && (end == text || *end != 0)) return false;
  switch (letter) {
    case 't':
      options.seconds = static_cast<double>(value);
      return true;
    case 'b':
      options.blocks = value;
      return true;
    case 's':
      options.seed = value;
      return true;
    case 'j':
      options.jobs = static_cast<unsigned>(value);
      return value >= 1 && value <= kMaxJobs;
    case 'i':
      options.instructions = static_cast<unsigned>(value);
      return value >= 1 && value <= 40;
    case 'm':
      options.bits = static_cast<unsigned>(value);
      return value == 64 || value == 32 || value == 0;
    case 'f':
      options.from = value;
      return true;
    case 'o':
      options.only = value;
      return true;
    case 'd':
      options.details = static_cast<unsigned>(value);
      return true;
    case 'p':
      options.shows = true;
      return true;
    default:
      return false;
  }
}

bool parse(int argc, char** argv, FuzzOptions& options) {
  options.jobs = std::min(kMaxJobs, static_cast<unsigned>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN))));
  for (int letter; (letter = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    if (!set_option(letter, options)) return false;
  }
  if (options.only != ~u64{0}) options.jobs = 1;
  return optind == argc;
}

int work(const FuzzOptions& options, const FormTables& forms, unsigned job, Progress& progress) {
  auto judge = Judge::create();
  if (!judge) {
    std::fprintf(stderr, "blocks_fuzz: %s\n", judge.error().message.c_str());
    return kExitNoHost;
  }
  Worker worker(options, forms, **judge, progress);
  if (options.only != ~u64{0}) {
    worker.run_block(options.only);
  } else {
    worker.run(job);
  }
  return 0;
}

// Waits for all; 0, 1 when one died, kExitSkipped when this host cannot run the test.
int wait_for(const FuzzOptions& options, std::span<const pid_t> children, Progress* progress) {
  int result = 0;
  for (unsigned job = 0; job < children.size(); ++job) {
    int status = 0;
    waitpid(children[job], &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == kExitNoHost) return kExitSkipped;
    fmt::print("\nCRASH block {}, {}: {} {}\n  blocks_fuzz --seed {} --instructions {} --bits {} --only {}\n",
               progress[job].block.load(), name_of(static_cast<Way>(progress[job].way.load())),
               WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), options.seed,
               options.instructions, options.bits, progress[job].block.load());
    result = 1;
  }
  return result;
}

bool print_summary(const FuzzOptions& options, std::span<const Progress> parts, double seconds) {
  Progress sum;
  for (const Progress& part : parts) {
    sum.blocks += part.blocks;
    sum.runs += part.runs;
    sum.faults += part.faults;
    sum.endless += part.endless;
    sum.mismatches += part.mismatches;
    sum.instructions += part.instructions;
  }
  const auto blocks = static_cast<double>(std::max<u64>(sum.blocks, 1));
  fmt::print(
      "seed {}: {} blocks of {:.1f} instructions, {:.0f} a second, {:.1f} % of starts faulting, {} endless\n",
      options.seed, sum.blocks, static_cast<double>(sum.instructions) / blocks, blocks / seconds,
      50.0 * static_cast<double>(sum.faults) / blocks, sum.endless);
  fmt::print("{} runs, {} mismatches\n", sum.runs, sum.mismatches);
  return sum.mismatches == 0 && sum.blocks != 0;
}

int run(const FuzzOptions& options) {
  void* memory =
      mmap(nullptr, sizeof(Progress) * kMaxJobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  auto* progress = new (memory) Progress[kMaxJobs];
  const FormTables forms = {FormTable(Decoder(false)), FormTable(Decoder(true))};
  const auto begin = std::chrono::steady_clock::now();
  std::vector<pid_t> children;
  std::fflush(nullptr);
  for (unsigned job = 0; job < options.jobs; ++job) {
    const pid_t child = fork();
    if (child == 0) _exit(work(options, forms, job, progress[job]));
    children.push_back(child);
  }
  const int status = wait_for(options, children, progress);
  if (status == kExitSkipped) return status;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const bool is_good = print_summary(options, {progress, options.jobs}, seconds);
  return is_good ? status : 1;
}

}  // namespace
}  // namespace doppel::blocks

int main(int argc, char** argv) {
  doppel::blocks::FuzzOptions options;
  if (!doppel::blocks::parse(argc, argv, options)) {
    std::fputs(doppel::blocks::kUsage, stderr);
    return 2;
  }
  return doppel::blocks::run(options);
}
