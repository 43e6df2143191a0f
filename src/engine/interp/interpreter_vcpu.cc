// The engine seam over an Interpreter, and its metrics.
#include <algorithm>
#include <string>

#include "engine/interp/interpreter.h"

namespace doppel {
namespace {

constexpr MetricKind kEvents{"interpreter_events", "What the interpreter's dispatcher did."};
constexpr MetricKind kTlbLookups{
    "tlb_lookups", "Lookups in the software TLB. Hits are estimated from samples of what runs."};
constexpr MetricKind kTlbEvents{"tlb_events", "Maintenance of the software TLB."};
constexpr MetricKind kWalks{"page_walks", "Walks of the guest's page tables, by entries read."};
constexpr MetricKind kReferences{
    "page_walk_references",
    "Memory references of all page walks: as made, and what nested paging would cost for the same ones."};

void add_walks(const TlbStatistics& tlb, MetricList& list) {
  for (unsigned levels = 1; levels <= TlbStatistics::kMaxLevels; ++levels) {
    const std::string text = std::to_string(levels);
    list.add(kWalks, tlb.walks[levels], {{"levels", text}, {"result", "page"}});
    list.add(kWalks, tlb.failed_walks[levels], {{"levels", text}, {"result", "fault"}});
  }
  // Levels of nested paging that maps pages of 4 KiB, and of 2 MiB.
  list.add(kReferences, tlb.walk_references, {{"paging", "one dimension, as made"}});
  list.add(kReferences, tlb.nested_references(4), {{"paging", "two dimensions, nested 4 KiB pages"}});
  list.add(kReferences, tlb.nested_references(3), {{"paging", "two dimensions, nested 2 MiB pages"}});
}

void add_metrics_of(const interp::Interpreter& interpreter, MetricList& list) {
  const interp::Statistics& counts = interpreter.statistics;
  const TlbStatistics& tlb = interpreter.mmu.statistics();
  const auto event = [&](const char* name, u64 value) { list.add(kEvents, value, {{"event", name}}); };
  event("dispatcher entered", counts.lookups);
  event("interrupt delivered", counts.interrupts);
  event("exception delivered", counts.exceptions);
  event("trace built", interpreter.traces.built());
  event("branch linked", counts.links);
  event("trace dropped", interpreter.traces.invalidations());
  event("trace cache emptied", interpreter.traces.clears());
  list.add(kTlbLookups, tlb.misses(), {{"result", "miss"}});
  list.add(kTlbLookups, counts.tlb_hits, {{"result", "hit"}});
  list.add(kTlbEvents, tlb.fills, {{"event", "fill"}});
  list.add(kTlbEvents, tlb.uncached, {{"event", "device or watched page"}});
  list.add(kTlbEvents, tlb.page_faults, {{"event", "page fault"}});
  list.add(kTlbEvents, tlb.flushes, {{"event", "address space flush"}});
  add_walks(tlb, list);
}

// The engine seam over an Interpreter.
class InterpreterVcpu final : public Vcpu {
 public:
  InterpreterVcpu(const InterpreterConfig& config, BorrowedCode borrowed,
                  std::unique_ptr<TranslatedCode> translated)
      : interpreter_(config, std::move(borrowed), std::move(translated)) {}
  Exit run(RunLimit limit) override { return interpreter_.run(limit); }
  u64 instructions_retired() const override { return interpreter_.instructions_retired(); }
  void kick() override { interpreter_.kick(); }
  void notify_interrupt() override { interpreter_.notify_interrupt(); }
  void notify_nmi() override { interpreter_.notify_nmi(); }
  void end_halt() override { interpreter_.end_halt(); }
  void save(CpuState& state) override { state = interpreter_.state; }
  void load(const CpuState& state) override { interpreter_.load(state); }
  Result<void> set_debug(const DebugControl& control) override {
    interpreter_.set_debug(control);
    return {};
  }
  std::vector<std::pair<std::string_view, u64>> statistics() const override {
    const TlbStatistics& tlb = interpreter_.mmu.statistics();
    const interp::TraceCache& traces = interpreter_.traces;
    std::vector<std::pair<std::string_view, u64>> all = {
        {"dispatcher_entries", interpreter_.statistics.lookups},
        {"interrupts", interpreter_.statistics.interrupts},
        {"exceptions", interpreter_.statistics.exceptions},
        {"traces_built", traces.built()},
        {"traces_linked", interpreter_.statistics.links},
        {"traces_invalidated", traces.invalidations()},
        {"trace_cache_clears", traces.clears()},
        {"tlb_fills", tlb.fills},
        {"tlb_flushes", tlb.flushes},
        {"page_walk_references", tlb.walk_references},
        {"page_faults", tlb.page_faults}};
    if (interpreter_.translated)
      std::ranges::copy(interpreter_.translated->statistics(), std::back_inserter(all));
    return all;
  }
  bool runs_in_slices() const override {
    return interpreter_.translated == nullptr || interpreter_.translated->counts_instructions();
  }
  void add_metrics(MetricList& list) const override {
    add_metrics_of(interpreter_, list);
    if (interpreter_.translated) interpreter_.translated->add_metrics(list);
  }
  const GuestLocator* locator() const override { return interpreter_.translated.get(); }
  void invalidate(GuestPhys address, u64 size) override { interpreter_.memory.note_write(address, size); }

 private:
  interp::Interpreter interpreter_;
};

}  // namespace

Result<std::unique_ptr<Vcpu>> create_interpreter(const InterpreterConfig& config,
                                                 std::unique_ptr<TranslatedCode> translated) {
  return std::make_unique<InterpreterVcpu>(config, TRY(BorrowedCode::create()), std::move(translated));
}

}  // namespace doppel
