// The counters of a machine's parts.
#include "machine/machine.h"

namespace doppel {
namespace {

constexpr MetricKind kInstructions{"instructions", "Guest instructions retired."};

}  // namespace

void Machine::add_metrics(MetricList& list) {
  const std::lock_guard lock(buses_.device_lock);
  for (unsigned i = 0; i < vcpus_.count(); ++i) {
    MachineCpu& cpu = vcpus_.cpu(i);
    list.set_common({{"cpu", std::to_string(i)}});
    list.add(kInstructions, cpu.engine->instructions_retired());
    cpu.platform.accounts().add_metrics(list);
    cpu.platform.lapic().add_metrics(list);
    cpu.engine->add_metrics(list);
  }
  list.set_common({});
  buses_.ports.add_metrics(list, "port");
  buses_.memory.add_metrics(list, "memory");
  for (Component* component : components()) {
    // Those above are components, too.
    if (component->name() == vcpus_.cpu(0).platform.lapic().name()) continue;
    list.set_common({{"component", std::string(component->name())}});
    component->add_metrics(list);
  }
  list.set_common({});
}

}  // namespace doppel
