// Accounts as metrics.
#include "machine/exit_accounts.h"

#include <string>

namespace doppel {
namespace {

constexpr std::string_view kNames[] = {
    "MMIO read", "MMIO write",      "port read",       "port write", "APIC read", "APIC write", "MSR read",
    "MSR write", "interrupt check", "interrupt taken", "CR8",        "hypercall", "PAUSE",      "halt"};
static_assert(std::size(kNames) == static_cast<std::size_t>(ExitKind::kCount));

constexpr MetricKind kExits{"exits", "Exits from guest code by reason."};
constexpr MetricKind kTime{"exit_time",
                           "Host time in exits; extrapolated from one exit in 16, halts exactly.",
                           MetricUnit::kNanoseconds};
constexpr MetricKind kHaltPolls{"halt_polls", "Halts in which the vCPU polled, by what ended that."};
constexpr MetricKind kInterrupts{"interrupts", "Interrupts delivered by vector."};

}  // namespace

void ExitAccounts::add_metrics(MetricList& list) const {
  for (std::size_t i = 0; i < accounts_.size(); ++i) {
    const std::string name(kNames[i]);
    list.add(kExits, accounts_[i].count, {{"reason", name}});
    list.add(kTime, static_cast<u64>(accounts_[i].time.count()), {{"reason", name}});
  }
  list.add(kHaltPolls, halt_polls_[1], {{"result", "work"}});
  list.add(kHaltPolls, halt_polls_[0], {{"result", "sleep"}});
  for (std::size_t vector = 0; vector < vectors_.size(); ++vector) {
    if (vectors_[vector] != 0) list.add(kInterrupts, vectors_[vector], {{"vector", std::to_string(vector)}});
  }
}

}  // namespace doppel
