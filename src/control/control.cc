// Commands to calls.
#include "control/control.h"

#include "base/log.h"
#include "state/state_digest.h"

namespace doppel {
namespace {

struct Executor {
  Machine& machine;

  std::size_t operator()(const TypeCharacters& command) { return machine.console_input(command.characters); }
  std::size_t operator()(const PressPowerButton&) {
    machine.press_power_button();
    return 0;
  }
  std::size_t operator()(const Quit&) {
    machine.request_quit();
    return 0;
  }
  std::size_t operator()(const QuitFromConsole&) {
    machine.stop_soon();
    return 0;
  }
  std::size_t operator()(const SwitchEngine& command) {
    const Engine other = machine.engine() == Engine::kKvm ? Engine::kInterp : Engine::kKvm;
    const Result<void> done = machine.switch_engine(command.engine.value_or(other));
    if (!done) LOG_WARNING("{}", done.error().message);
    return done ? 1 : 0;
  }
};

}  // namespace

Result<Control> Control::create(const MachineConfig& config, CharacterSink& console) {
  return Control(TRY(Machine::create(config, console)));
}

std::size_t Control::execute(const Command& command) { return std::visit(Executor{*machine_}, command); }

std::string Control::state_text() {
  StatePrinter printer;
  machine_->visit_state(printer, StateScope::kRegisters);
  return printer.text();
}

}  // namespace doppel
