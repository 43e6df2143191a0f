// Commands to calls.
#include "control/control.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "state/state_digest.h"

namespace doppel {
namespace {

// Readers see the old contents or the new ones.
Result<void> replace_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  std::FILE* file = std::fopen(fresh.c_str(), "we");
  if (file == nullptr) return fail("statistics: {}: {}", fresh, std::strerror(errno));
  const bool is_written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !is_written) return fail("statistics: {}: {}", fresh, std::strerror(errno));
  if (std::rename(fresh.c_str(), path.c_str()) != 0)
    return fail("statistics: {}: {}", path, std::strerror(errno));
  return {};
}

struct Executor {
  Machine& machine;
  std::mutex& one_at_a_time;

  Result<std::size_t> operator()(const TypeCharacters& command) {
    return machine.console_input(command.characters);
  }
  Result<std::size_t> operator()(const PressPowerButton&) {
    machine.press_power_button();
    return 0;
  }
  Result<std::size_t> operator()(const Quit&) {
    machine.request_quit();
    return 0;
  }
  Result<std::size_t> operator()(const QuitFromConsole&) {
    machine.stop_soon();
    return 0;
  }
  Result<std::size_t> operator()(const WriteStatistics& command) {
    const std::lock_guard lock(one_at_a_time);
    machine.pause();
    MetricList list;
    machine.add_metrics(list);
    machine.resume();
    TRY_VOID(replace_file(command.path, list.prometheus_text()));
    return 0;
  }
  Result<std::size_t> operator()(const SwitchEngine& command) {
    const std::lock_guard lock(one_at_a_time);
    TRY_VOID(machine.switch_engine(command.engine.value_or(machine.next_engine())));
    return 0;
  }
  Result<std::size_t> operator()(const SetBalloon& command) {
    TRY_VOID(machine.set_balloon(command.bytes));
    return 0;
  }
  Result<std::size_t> operator()(const ReadBalloonStatistics& command) {
    command.out = TRY(machine.balloon_report());
    return 0;
  }
  Result<std::size_t> operator()(const ResizeTerminal& command) {
    machine.resize_terminal(command.columns, command.rows);
    return 0;
  }
};

}  // namespace

Result<Control> Control::create(const MachineConfig& config, CharacterSink& console) {
  return Control(TRY(Machine::create(config, console)));
}

Result<std::size_t> Control::execute(const Command& command) {
  return std::visit(Executor{*machine_, *one_at_a_time_}, command);
}

std::string Control::statistics_text() {
  MetricList list;
  machine_->add_metrics(list);
  return machine_->statistics_text() + list.table_text();
}

std::string Control::state_text() {
  StatePrinter printer;
  machine_->visit_state(printer, StateScope::kRegisters);
  return printer.text();
}

}  // namespace doppel
