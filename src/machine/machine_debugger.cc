// The debugger's pause, and access to what stands still.
#include "machine/machine_debugger.h"

#include <algorithm>

#include "cpu/debug_walk.h"

namespace doppel {

MachineDebugger::MachineDebugger(VcpuSet& vcpus, MachineBuses& buses, GuestMemory& memory)
    : vcpus_(vcpus), buses_(buses), memory_(memory), applied_(vcpus.count()) {
  vcpus_.set_on_debug([this](unsigned cpu, const DebugHit& what) { hit(cpu, what); });
}

// On the vCPU's thread, device lock held. Others may hit something before they notice the pause: the first
// one counts, the others come to it again.
void MachineDebugger::hit(unsigned cpu, const DebugHit& hit) {
  if (is_paused_) return;
  is_paused_ = true;
  vcpus_.begin_pause();
  if (listener_) listener_({.is_end = false, .cpu = cpu, .hit = hit});
}

void MachineDebugger::pause() {
  {
    const std::lock_guard lock(buses_.device_lock);
    if (!is_paused_) vcpus_.begin_pause();
    is_paused_ = true;
  }
  const Standstill wait(vcpus_);
}

void MachineDebugger::release() {
  if (!is_paused_) return;
  is_paused_ = false;
  vcpus_.hold({});
  vcpus_.end_pause();
}

Result<void> MachineDebugger::resume(const std::vector<DebugMotion>& motions) {
  const Standstill standstill(vcpus_);
  TRY_VOID(check(0));
  std::vector<bool> held;
  for (unsigned cpu = 0; cpu < vcpus_.count(); ++cpu) {
    const DebugMotion motion = cpu < motions.size() ? motions[cpu] : DebugMotion::kHold;
    DebugControl control = stops_;
    control.steps = motion == DebugMotion::kStep;
    TRY_VOID(apply(cpu, control));
    held.push_back(motion == DebugMotion::kHold);
  }
  const std::lock_guard lock(buses_.device_lock);
  release();
  vcpus_.hold(held);
  return {};
}

void MachineDebugger::detach() {
  const Standstill standstill(vcpus_);
  stops_ = {};
  for (unsigned cpu = 0; cpu < vcpus_.count(); ++cpu) std::ignore = apply(cpu, {});
  const std::lock_guard lock(buses_.device_lock);
  vcpus_.hold({});
  release();
}

void MachineDebugger::run_ended() {
  {
    const std::lock_guard lock(buses_.device_lock);
    release();
  }
  if (listener_) listener_({.is_end = true, .cpu = 0, .hit = {}});
}

Result<void> MachineDebugger::check(unsigned cpu) {
  const std::lock_guard lock(buses_.device_lock);
  if (!is_paused_) return fail("debugger: the machine runs");
  if (cpu >= vcpus_.count()) return fail("debugger: there is no CPU {}", cpu);
  return {};
}

Result<void> MachineDebugger::apply(unsigned cpu, const DebugControl& control) {
  if (applied_[cpu] == control) return {};
  TRY_VOID(vcpus_.cpu(cpu).engine->set_debug(control));
  applied_[cpu] = control;
  return {};
}

Result<void> MachineDebugger::set_stops(const DebugControl& stops) {
  const Standstill standstill(vcpus_);
  TRY_VOID(check(0));
  for (unsigned cpu = 0; cpu < vcpus_.count(); ++cpu) TRY_VOID(apply(cpu, stops));
  stops_ = stops;
  return {};
}

Result<void> MachineDebugger::read_registers(unsigned cpu, DebugRegisters& out) {
  return look(cpu, [&](MachineCpu& one) {
    one.engine->save(out.cpu);
    out.cr8 = one.platform.task_priority();
  });
}

Result<void> MachineDebugger::write_registers(unsigned cpu, const DebugRegisters& registers) {
  return look(cpu, [&](MachineCpu& one) {
    one.engine->load(registers.cpu);
    if (one.platform.task_priority() != registers.cr8)
      one.platform.set_task_priority(static_cast<u8>(registers.cr8 & 15));
  });
}

// The start of each page's part; empty when something is not mapped to RAM.
std::vector<GuestPhys> MachineDebugger::translate(unsigned cpu, GuestVirt address, u64 size) {
  CpuState state;
  vcpus_.cpu(cpu).engine->save(state);
  std::vector<GuestPhys> parts;
  for (u64 done = 0; done < size;) {
    const GuestVirt at = address + done;
    const u64 part = std::min(size - done, kPageSize - at.page_offset());
    const std::optional<DebugTranslation> found = debug_walk(state, memory_, at);
    if (!found || !memory_.is_ram(found->physical, part)) return {};
    parts.push_back(found->physical);
    done += part;
  }
  return parts;
}

Result<void> MachineDebugger::read_memory(unsigned cpu, GuestVirt address, std::span<u8> out) {
  const Standstill standstill(vcpus_);
  TRY_VOID(check(cpu));
  const std::vector<GuestPhys> parts = translate(cpu, address, out.size());
  if (parts.empty()) return fail("debugger: no memory at {:#x}", address.value());
  for (const GuestPhys part : parts) {
    const std::size_t size = std::min<u64>(out.size(), kPageSize - part.page_offset());
    memory_.read(part, out.first(size));
    out = out.subspan(size);
  }
  return {};
}

Result<void> MachineDebugger::write_memory(unsigned cpu, GuestVirt address, std::span<const u8> data) {
  const Standstill standstill(vcpus_);
  TRY_VOID(check(cpu));
  const std::vector<GuestPhys> parts = translate(cpu, address, data.size());
  if (parts.empty()) return fail("debugger: no memory at {:#x}", address.value());
  for (const GuestPhys part : parts) {
    const std::size_t size = std::min<u64>(data.size(), kPageSize - part.page_offset());
    memory_.write(part, data.first(size));
    data = data.subspan(size);
  }
  return {};
}

}  // namespace doppel
