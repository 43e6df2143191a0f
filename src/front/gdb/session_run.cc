// Threads, running and stopping.
#include <fmt/format.h>

#include <algorithm>

#include "front/gdb/session.h"

namespace doppel::gdb {
namespace {

constexpr int kSignalInterrupt = 2;
constexpr int kSignalTrap = 5;

}  // namespace

// A thread's number: 1 and up, 0 for any, -1 for all. Nothing when there is no such thread.
std::optional<unsigned> Session::scan_thread(Scanner& scanner, unsigned any) const {
  if (scanner.skip("-1")) return any;
  const std::optional<u64> number = scanner.number();
  if (!number || *number > cpus_) return std::nullopt;
  return *number == 0 ? any : static_cast<unsigned>(*number - 1);
}

// Hg: for registers and memory. Hc: for the old resuming packets.
void Session::select_thread(Scanner scanner) {
  const bool is_general = scanner.skip('g');
  if (!is_general && !scanner.skip('c')) return reply("E01");
  const bool is_all = scanner.rest() == "-1" || scanner.rest() == "0";
  const std::optional<unsigned> cpu = scan_thread(scanner, general_cpu_);
  if (!cpu) return reply("E01");
  if (is_general)
    general_cpu_ = *cpu;
  else
    step_cpu_ = is_all ? std::nullopt : cpu;
  reply("OK");
}

void Session::check_thread(Scanner scanner) { reply_result(scan_thread(scanner, 0).has_value()); }

After Session::run_verbose(std::string_view payload) {
  Scanner scanner(payload);
  if (payload == "vCont?") {
    reply("vCont;c;C;s;S");
  } else if (scanner.skip("vCont;")) {
    resume_verbose(scanner);
  } else if (scanner.skip("vKill;")) {
    reply("OK");
    return kill();
  } else {
    reply("");
  }
  return After::kGoOn;
}

// vCont;ACTION[:THREAD]...: for each thread the leftmost action that names it, or names none. Signals mean
// nothing to a machine.
void Session::resume_verbose(Scanner scanner) {
  std::vector<std::optional<DebugMotion>> chosen(cpus_);
  while (!scanner.is_empty()) {
    Scanner action(scanner.until(';'));
    const bool is_step = action.skip('s') || action.skip('S');
    if (!is_step && !action.skip('c') && !action.skip('C')) return reply("E01");
    action.number();  // a signal
    const DebugMotion motion = is_step ? DebugMotion::kStep : DebugMotion::kContinue;
    unsigned first = 0;
    unsigned end = cpus_;
    if (action.skip(':') && !action.skip("-1")) {
      const std::optional<unsigned> cpu = scan_thread(action, general_cpu_);
      if (!cpu) return reply("E01");
      first = *cpu;
      end = first + 1;
    }
    for (unsigned cpu = first; cpu < end; ++cpu) chosen[cpu] = chosen[cpu].value_or(motion);
  }
  std::vector<DebugMotion> motions;
  for (const std::optional<DebugMotion>& one : chosen) motions.push_back(one.value_or(DebugMotion::kHold));
  resume(std::move(motions));
}

// c [ADDRESS] and s [ADDRESS].
void Session::resume_plain(Scanner scanner, DebugMotion motion) {
  const unsigned cpu = step_cpu_.value_or(general_cpu_);
  if (const std::optional<u64> address = scanner.number()) {
    DebugRegisters values;
    if (!execute(ReadRegisters{cpu, values})) return reply("E01");
    values.cpu.rip = *address;
    if (!execute(WriteRegisters{cpu, values})) return reply("E01");
  }
  const bool is_step = motion == DebugMotion::kStep;
  std::vector<DebugMotion> motions(cpus_, is_step ? DebugMotion::kHold : DebugMotion::kContinue);
  motions[cpu] = motion;
  resume(std::move(motions));
}

void Session::resume(std::vector<DebugMotion> motions) {
  const bool moves = std::ranges::any_of(motions, [](DebugMotion one) { return one != DebugMotion::kHold; });
  if (!moves) return reply("E01");
  is_running_ = true;
  if (execute(ResumeForDebug{std::move(motions)})) return;
  is_running_ = false;
  reply("E01");
}

void Session::interrupt() {
  if (!is_running_) return;
  execute(PauseForDebug{});
  is_running_ = false;
  signal_ = kSignalInterrupt;
  hit_.reset();
  report_stop();
}

After Session::stopped(const DebugStop& stop) {
  const bool was_running = std::exchange(is_running_, false);
  if (stop.is_end) {
    if (was_running) reply("W00");
    return After::kClose;
  }
  // It stopped by itself while being paused: that has been reported.
  if (!was_running) return After::kGoOn;
  signal_ = kSignalTrap;
  hit_ = stop.hit;
  general_cpu_ = std::min(stop.cpu, cpus_ - 1);
  report_stop();
  return After::kGoOn;
}

void Session::report_stop() {
  std::string text = fmt::format("T{:02x}thread:{:x};", signal_, general_cpu_ + 1);
  if (hit_ && hit_->cause == DebugCause::kWatchpoint) {
    const u64 address = hit_->address.value();
    const auto at = std::ranges::find_if(
        stops_, [address](const Stop& stop) { return stop.kind >= '2' && stop.address == address; });
    const char kind = at == stops_.end() ? '2' : at->kind;
    const char* name = kind == '3' ? "rwatch" : (kind == '4' ? "awatch" : "watch");
    text += fmt::format("{}:{:x};", name, address);
  } else if (hit_ && hit_->cause == DebugCause::kBreakpoint && knows_breakpoint_reasons_) {
    const u64 address = hit_->address.value();
    const bool is_hard = std::ranges::any_of(
        stops_, [address](const Stop& stop) { return stop.kind == '1' && stop.address == address; });
    text += is_hard ? "hwbreak:;" : "swbreak:;";
  }
  reply(text);
}

After Session::detach() {
  stops_.clear();
  execute(DetachDebugger{});
  reply("OK");
  return After::kClose;
}

After Session::kill() {
  execute(QuitFromDebug{});
  return After::kClose;
}

}  // namespace doppel::gdb
