// FormRunner: all cases of one form, in the worker process.
#pragma once

#include "tests/differential/backend.h"
#include "tests/differential/campaign.h"
#include "tests/differential/case_builder.h"
#include "tests/differential/compare.h"

namespace doppel::differential {

// Where a worker is, in memory shared with the process that waits for it.
struct Progress {
  u32 form = 0;
  u32 encoding = 0;
  u32 case_number = 0;
  u32 is_in_engine = 0;
};

// Owned by a worker.
class FormRunner {
 public:
  FormRunner(const Decoder& decoder, const CampaignOptions& options, Backend& native, Backend& engine,
             Progress& progress)
      : encoder_(decoder), options_(options), native_(native), engine_(engine), progress_(progress) {}

  void run(const Form& form, FormResult& result);

 private:
  void run_encoding(const Form& form, const Encoding& encoding, FormResult& result);
  void run_case(const Form& form, const Encoding& encoding, const Mask& mask, FormResult& result);
  void report(const Form& form, const Encoding& encoding, const Mask& mask);

  Encoder encoder_;
  const CampaignOptions& options_;
  Backend& native_;
  Backend& engine_;
  Progress& progress_;
  TestCase case_;
  Outcome expected_;
  Outcome got_;
  std::array<u8, kDataSize> expected_window_;
};

// The instruction at `progress`, made again; for a worker that died.
std::string describe_encoding(const Decoder& decoder, const Form& form, const CampaignOptions& options,
                              const Progress& progress);

// The command that runs one case again.
std::string reproduction(const Form& form, const CampaignOptions& options, const Progress& progress,
                         bool is_compat);

}  // namespace doppel::differential
