// Campaign: worker processes that take forms from a shared counter; a worker that dies is reported and
// replaced.
#include "tests/differential/campaign.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "tests/differential/form_runner.h"
#include "tests/differential/native_backend.h"

namespace doppel::differential {
namespace {

constexpr unsigned kMaxJobs = 64;
constexpr int kExitNoHost = 3;
// No form takes this long; a hang is reported like a crash.
constexpr unsigned kFormSeconds = 120;

struct alignas(64) SharedHeader {
  std::atomic<u32> next_form = 0;
  std::array<Progress, kMaxJobs> progress = {};
};

// Results and progress in anonymous shared memory.
class SharedBlock {
 public:
  static Result<SharedBlock> create(std::size_t form_count) {
    const std::size_t size = sizeof(SharedHeader) + form_count * sizeof(FormResult);
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return fail("shared memory of {} bytes", size);
    return SharedBlock(new (memory) SharedHeader,
                       reinterpret_cast<FormResult*>(static_cast<char*>(memory) + sizeof(SharedHeader)));
  }

  SharedHeader& header() { return *header_; }
  FormResult& result(std::size_t form) { return results_[form]; }

 private:
  SharedBlock(SharedHeader* header, FormResult* results) : header_(header), results_(results) {}
  SharedHeader* header_;
  FormResult* results_;
};

struct Campaign {
  const std::vector<Form>& forms;
  bool is_compat;
  const CampaignOptions& options;
  SharedBlock shared;
};

int cannot_start(const Error& error) {
  std::fprintf(stderr, "differential: %s\n", error.message.c_str());
  return kExitNoHost;
}

// Runs forms until none is left; the worker's exit status.
int work(Campaign& campaign, unsigned job) {
  auto native = NativeBackend::create();
  if (!native) return cannot_start(native.error());
  const Decoder decoder(campaign.is_compat);
  SharedHeader& header = campaign.shared.header();
  Progress& progress = header.progress[job];
  std::unique_ptr<Backend> engine;
  for (;;) {
    const u32 form = header.next_form.fetch_add(1);
    if (form >= campaign.forms.size()) return 0;
    if (campaign.forms[form].skip != nullptr) continue;
    if (engine == nullptr || !campaign.options.keeps_engine) {
      auto created = campaign.options.create_engine(**native);
      if (!created) return cannot_start(created.error());
      engine = std::move(*created);
    }
    progress.form = form;
    alarm(kFormSeconds);
    FormRunner(decoder, campaign.options, **native, *engine, progress)
        .run(campaign.forms[form], campaign.shared.result(form));
  }
}

pid_t start_worker(Campaign& campaign, unsigned job) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(work(campaign, job));
  return child;
}

void report_death(Campaign& campaign, unsigned job, int status) {
  const Progress& progress = campaign.shared.header().progress[job];
  const Form& form = campaign.forms[progress.form];
  campaign.shared.result(progress.form).crashed = 1;
  std::printf("\nCRASH %s: signal %d in the %s\n  %s\n  %s\n", form.name.c_str(),
              WIFSIGNALED(status) ? WTERMSIG(status) : 0,
              progress.is_in_engine != 0 ? "engine" : "native run",
              describe_encoding(Decoder(campaign.is_compat), form, campaign.options, progress).c_str(),
              reproduction(form, campaign.options, progress, campaign.is_compat).c_str());
}

// False when a worker could not even start.
bool wait_for_workers(Campaign& campaign, std::vector<pid_t> workers) {
  std::size_t running = workers.size();
  bool is_possible = true;
  while (running != 0) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    if (ended < 0) break;
    for (unsigned job = 0; job < workers.size(); ++job) {
      if (workers[job] != ended) continue;
      if (WIFEXITED(status) && WEXITSTATUS(status) != kExitNoHost && WEXITSTATUS(status) == 0) {
        --running;
      } else if (WIFEXITED(status) && WEXITSTATUS(status) == kExitNoHost) {
        is_possible = false;
        --running;
      } else {
        report_death(campaign, job, status);
        workers[job] = start_worker(campaign, job);
      }
    }
  }
  return is_possible;
}

}  // namespace

Result<CampaignResult> run_campaign(const std::vector<Form>& forms, bool is_compat,
                                    const CampaignOptions& options) {
  Campaign campaign{forms, is_compat, options, TRY(SharedBlock::create(forms.size()))};
  const auto start = std::chrono::steady_clock::now();
  std::vector<pid_t> workers;
  for (unsigned job = 0; job < std::min(options.jobs, kMaxJobs); ++job) {
    workers.push_back(start_worker(campaign, job));
  }
  if (!wait_for_workers(campaign, workers)) return fail("the workers could not start");
  CampaignResult result;
  for (std::size_t i = 0; i < forms.size(); ++i) result.forms.push_back(campaign.shared.result(i));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace doppel::differential
