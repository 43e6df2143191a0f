// Debug commands to calls.
#include "control/control.h"
#include "cpu/page_table_report.h"
#include "state/state_digest.h"

namespace doppel {
namespace {

struct DebugExecutor {
  Machine& machine;
  MachineDebugger& debugger = machine.debugger();

  Result<void> operator()(const PauseForDebug&) {
    debugger.pause();
    return {};
  }
  Result<void> operator()(const ResumeForDebug& command) { return debugger.resume(command.motions); }
  Result<void> operator()(const SetDebugStops& command) { return debugger.set_stops(command.stops); }
  Result<void> operator()(const ReadRegisters& command) {
    return debugger.read_registers(command.cpu, command.out);
  }
  Result<void> operator()(const WriteRegisters& command) {
    return debugger.write_registers(command.cpu, command.registers);
  }
  Result<void> operator()(const ReadMemory& command) {
    return debugger.read_memory(command.cpu, command.address, command.out);
  }
  Result<void> operator()(const WriteMemory& command) {
    return debugger.write_memory(command.cpu, command.address, command.data);
  }
  Result<void> operator()(const Report& command) {
    return debugger.look(command.cpu, [&](MachineCpu& cpu) { command.out = report(command.what, cpu); });
  }
  Result<void> operator()(const QuitFromDebug&) {
    machine.request_quit();
    return {};
  }
  Result<void> operator()(const DetachDebugger&) {
    debugger.detach();
    return {};
  }
  Result<void> operator()(const CountCpus& command) {
    command.out = machine.cpu_count();
    return {};
  }

  std::string report(DebugReport what, MachineCpu& cpu) {
    StatePrinter printer;
    MetricList list;
    CpuState state;
    switch (what) {
      case DebugReport::kRegisters:
        cpu.engine->save(state);
        state.visit_state(printer);
        return printer.text();
      case DebugReport::kLocalApic:
        cpu.platform.lapic().visit_state(printer);
        return printer.text();
      case DebugReport::kTlb:
        cpu.engine->save(state);
        return page_table_report(state, machine.memory());
      case DebugReport::kExits:
        machine.add_metrics(list);
        return list.table_text();
    }
    return {};
  }
};

}  // namespace

Result<void> Control::execute(const DebugCommand& command) {
  return std::visit(DebugExecutor{*machine_}, command);
}

}  // namespace doppel
