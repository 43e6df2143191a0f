// Worker: makes blocks, has them judged, reports.
#include "tests/blocks/worker.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "tests/blocks/generator.h"
#include "tests/blocks/minimize.h"

namespace doppel::blocks {
namespace {

constexpr unsigned kStarts = 2;
// No block takes this long; a hang is reported like a crash.
constexpr unsigned kBlockSeconds = 60;

u64 seed_of(u64 seed, u64 index) { return hash_seed(seed, "block") + index * 0x9e3779b97f4a7c15; }

void print(const std::string& text) {
  [[maybe_unused]] const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
}

std::string describe_end(const char* who, const Outcome& outcome) {
  return fmt::format("  {} ends at {:#x}, vector {}, error code {:#x}, cr2 {:#x}\n", who, outcome.state.rip,
                     outcome.vector, outcome.error_code, outcome.cr2);
}

}  // namespace

void Worker::run(unsigned job) {
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto end = now() + std::chrono::duration<double>(options_.seconds);
  for (u64 done = 0, index = options_.from + job; done < options_.blocks / options_.jobs; ++done) {
    if (now() >= end) break;
    if (done % 1024 == 0) alarm(kBlockSeconds);
    run_block(index);
    index += options_.jobs;
  }
  alarm(0);
}

// Not from the block's sequence: a block with a number is the same whether others are of its kind or not.
bool Worker::is_compat(u64 index) const {
  if (options_.bits != 0) return options_.bits == 32;
  return Random(seed_of(hash_seed(options_.seed, "bits"), index)).percent(25);
}

void Worker::run_block(u64 index) {
  progress_.block = index;
  Random random(seed_of(options_.seed, index));
  const Decoder decoder(is_compat(index));
  Generator generator(decoder, forms_[decoder.is_compat() ? 1 : 0]);
  generator.make_block({.instructions = options_.instructions, .reads_time = random.percent(15)}, random,
                       block_);
  if (options_.shows) print(fmt::format("block {}\n{}", index, disassemble(block_)));
  judge_.place(block_);
  progress_.instructions += block_.instructions.size();
  for (unsigned i = 0; i < kStarts; ++i) {
    generator.make_start(random, start_);
    const u64 seed = random.next();
    progress_.way = 0;
    if (!judge_.start(start_, seed)) {
      ++progress_.endless;
      break;
    }
    if (judge_.expected().outcome.vector != Outcome::kNoFault) ++progress_.faults;
    if (options_.shows) {
      print(describe(start_.state) + describe_end("the interpreter", judge_.expected().outcome));
    }
    judge_way(index, Way::kInterpreter, seed);
    judge_way(index, Way::kTranslator, seed);
    const u64 choice = random.below(100);
    if (block_.reads_time) {
      judge_way(index, random.percent(50) ? Way::kAnyTime : Way::kFlush, seed);
    } else {
      judge_way(index, static_cast<Way>(2 + choice % 4), seed);
    }
    if (choice < 8) judge_way(index, choice < 4 ? Way::kStops : Way::kInterrupts, seed);
  }
  ++progress_.blocks;
}

void Worker::judge_way(u64 index, Way way, u64 seed) {
  progress_.way = static_cast<u32>(way);
  ++progress_.runs;
  const std::vector<std::string> lines = judge_.judge(way);
  if (lines.empty()) return;
  ++progress_.mismatches;
  if (progress_.mismatches <= options_.details) report(index, way, lines, seed);
}

void Worker::report(u64 index, Way way, const std::vector<std::string>& lines, u64 seed) {
  std::string text = fmt::format("\nMISMATCH block {} {}\n", index, name_of(way));
  for (const std::string& line : lines) text += "  " + line + "\n";
  text += describe(start_.state);
  text += describe_end("the interpreter", judge_.expected().outcome);
  if (way == Way::kInterpreter) text += describe_end("the host", judge_.by_host().outcome);
  // In engines of its own: what ran before must not matter, and must not be lost.
  Block smaller = block_;
  if (minimize(judge_, smaller, start_, way, seed)) {
    for (const std::string& line : judge_.judge(way)) text += "  smaller: " + line + "\n";
    text += "  smaller: " + describe_end("the interpreter", judge_.expected().outcome);
    text += disassemble(smaller);
  } else {
    text += "  does not differ a second time: depends on what ran before\n" + disassemble(block_);
  }
  text += fmt::format("  blocks_fuzz --seed {} --instructions {} --bits {} --only {}\n", options_.seed,
                      options_.instructions, options_.bits, index);
  print(text);
  judge_.place(block_);
  judge_.start(start_, seed);
}

}  // namespace doppel::blocks
