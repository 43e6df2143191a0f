// Worker: one process's share of the blocks.
#pragma once

#include <atomic>
#include <string>

#include "tests/blocks/form_table.h"
#include "tests/blocks/judge.h"

namespace doppel::blocks {

struct FuzzOptions {
  u64 seed = 1;
  double seconds = 10;
  u64 blocks = ~u64{0};  // stop after that many
  u64 only = ~u64{0};    // this block and no other
  u64 from = 0;
  unsigned jobs = 1;
  unsigned details = 3;  // mismatches that each worker reports
  unsigned instructions = 40;
  unsigned bits = 0;   // of the code of all blocks, 64 or 32; 0: of both kinds
  bool shows = false;  // print blocks
};

// In memory shared with the parent.
struct alignas(64) Progress {
  std::atomic<u64> block = 0;  // being run
  std::atomic<u32> way = 0;
  u64 blocks = 0;
  u64 runs = 0;
  u64 faults = 0;
  u64 endless = 0;
  u64 mismatches = 0;
  u64 instructions = 0;  // of the blocks
};

class Worker {
 public:
  Worker(const FuzzOptions& options, const FormTables& forms, Judge& judge, Progress& progress)
      : options_(options), forms_(forms), judge_(judge), progress_(progress) {}

  // Blocks job, job + jobs, job + 2 jobs and so on, until the time is up.
  void run(unsigned job);
  // All ways on one block.
  void run_block(u64 index);

 private:
  bool is_compat(u64 index) const;
  void judge_way(u64 index, Way way, u64 seed);
  void report(u64 index, Way way, const std::vector<std::string>& lines, u64 seed);

  const FuzzOptions& options_;
  const FormTables& forms_;
  Judge& judge_;
  Progress& progress_;
  Block block_;
  Start start_;
};

}  // namespace doppel::blocks
