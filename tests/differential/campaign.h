// Campaign: runs the chosen forms on both sides in worker processes and collects what differed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/differential/backend.h"
#include "tests/differential/form.h"

namespace doppel::differential {

struct CampaignOptions {
  std::string engine;  // its name, for reproduction commands
  // Makes the backend under test in a worker, given the native one of the same process.
  std::function<Result<std::unique_ptr<Backend>>(Backend&)> create_engine;
  u64 seed = 1;
  u32 cases = 2000;  // per form
  u32 cases_per_encoding = 16;
  u32 details = 1;  // mismatches printed in full per form
  unsigned jobs = 2;
  // One engine for all forms a worker runs, instead of a new one for each: finds what accumulates in an
  // engine, at the price of reports that do not repeat alone.
  bool keeps_engine = false;
  // When set, only this encoding (and this case of it) runs: the reproduction of one report.
  i64 only_encoding = -1;
  i64 only_case = -1;
};

struct FormResult {
  u64 cases = 0;
  u64 mismatches = 0;
  u64 faults = 0;   // cases in which the host faulted
  u32 crashed = 0;  // the worker process died in this form
  u32 unencodable = 0;
};

struct CampaignResult {
  std::vector<FormResult> forms;  // parallel to the forms given
  double seconds = 0;
};

// Prints each mismatch as it is found. Skipped forms get empty results. `is_compat` selects 32-bit code.
Result<CampaignResult> run_campaign(const std::vector<Form>& forms, bool is_compat,
                                    const CampaignOptions& options);

}  // namespace doppel::differential
