// state_round_trip KEY VALUE...: runs a guest until it prints a text, saves it, loads it into a fresh machine
// and compares; with the instruction clock both then run on and are compared again.
//
// Keys: kernel, initrd, cmdline, cpus, clock (host or instructions), until (the text), more (instructions),
// step (instructions between comparisons), copy (a file that the second machine gets its own copy of), engine
// and copy-engine (interp or jit) of the two machines; what begins with "--" is a device. In a device's value
// "@" is nothing for the first machine and ".copy" for the second.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "machine/engine_choice.h"
#include "machine/machine.h"
#include "state/state_buffer.h"
#include "state/state_digest.h"

namespace doppel {
namespace {

// Passes the console on, and stops the machine when a text comes.
class Console final : public CharacterSink {
 public:
  explicit Console(std::string until) : until_(std::move(until)) {}
  void set_machine(Machine& machine) { machine_ = &machine; }
  void put(std::span<const u8> characters) override {
    std::fwrite(characters.data(), 1, characters.size(), stdout);
    if (until_.empty()) return;
    text_.append(characters.begin(), characters.end());
    const std::size_t at = text_.find(until_);
    // The whole line.
    if (at == std::string::npos || text_.find('\n', at) == std::string::npos) return;
    until_.clear();
    machine_->stop_soon();
  }
  bool has_seen_it() const { return until_.empty(); }

 private:
  std::string until_;
  std::string text_;
  Machine* machine_ = nullptr;
};

struct Plan {
  MachineConfig config;
  std::string until;
  u64 more = 0;
  u64 step = 5'000'000;
  std::vector<std::string> copies;
  EngineChoice copy_engine = EngineChoice::kInterp;
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "state_round_trip: %s\n", why.c_str());
  std::exit(1);
}

EngineChoice engine_named(const std::string& name) {
  const auto engine = parse_engine(name);
  if (!engine) give_up(engine.error().message);
  return *engine;
}

bool read_option(Plan& plan, const std::string& key, const std::string& value) {
  if (key == "kernel") {
    plan.config.boot.kernel_path = value;
  } else if (key == "initrd") {
    plan.config.boot.initrd_path = value;
  } else if (key == "cmdline") {
    plan.config.boot.command_line = value;
  } else if (key == "cpus") {
    plan.config.cpus = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
  } else if (key == "clock") {
    plan.config.clock = value == "host" ? ClockSource::kHost : ClockSource::kInstructions;
  } else if (key == "engine") {
    plan.config.engine = engine_named(value);
  } else if (key == "copy-engine") {
    plan.copy_engine = engine_named(value);
  } else if (key == "until") {
    plan.until = value;
  } else if (key == "more") {
    plan.more = std::strtoull(value.c_str(), nullptr, 10);
  } else if (key == "step") {
    plan.step = std::strtoull(value.c_str(), nullptr, 10);
  } else if (key == "copy") {
    plan.copies.push_back(value);
  } else if (key.starts_with("--")) {
    plan.config.devices.push_back({key, value});
  } else {
    return false;
  }
  return true;
}

MachineConfig config_for(const Plan& plan, const std::string& mark) {
  MachineConfig config = plan.config;
  for (DeviceOption& device : config.devices) {
    const std::size_t at = device.value.find('@');
    if (at != std::string::npos) device.value.replace(at, 1, mark);
  }
  return config;
}

std::string text_of(Machine& machine) {
  StatePrinter printer;
  machine.visit_state(printer, StateScope::kRegisters);
  return printer.text();
}

void expect_same(Machine& one, Machine& other, const char* when) {
  const u64 first = one.state_hash();
  const u64 second = other.state_hash();
  std::printf("hashes %s: %016llx %016llx\n", when, static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(second));
  if (first == second) return;
  // The first field that differs.
  const std::string left = text_of(one);
  const std::string right = text_of(other);
  std::size_t at = 0;
  while (at < std::min(left.size(), right.size()) && left[at] == right[at]) ++at;
  const std::size_t line = left.rfind('\n', at) + 1;
  give_up(fmt::format("not the same {}: {} / {}", when, left.substr(line, left.find('\n', at) - line),
                      right.substr(line, right.find('\n', at) - line)));
}

std::vector<u8> saved_state(Machine& machine) {
  StateSaver saver;
  machine.visit_state(saver);
  return saver.take();
}

int round_trip(const Plan& plan) {
  Console console(plan.until);
  auto original = Machine::create(config_for(plan, ""), console);
  if (!original) give_up(original.error().message);
  console.set_machine(**original);
  (*original)->run(~u64{0});
  if (!console.has_seen_it()) give_up("the guest ended before it printed the text");
  // With the host's clock: what disks have begun is over, though nobody looked.
  if (plan.config.clock == ClockSource::kHost) ::usleep(300'000);
  for (const std::string& file : plan.copies) std::filesystem::copy_file(file, file + ".copy");
  Console silent("");
  MachineConfig copy_config = config_for(plan, ".copy");
  copy_config.engine = plan.copy_engine;
  auto copy = Machine::create_empty(copy_config, silent);
  if (!copy) give_up(copy.error().message);
  const std::vector<u8> state = saved_state(**original);
  StateLoader loader(state);
  (*copy)->visit_state(loader);
  if (const auto loaded = loader.finish(); !loaded) give_up(loaded.error().message);
  std::printf("\nstate of %zu bytes\n%s", state.size(), text_of(**original).c_str());
  expect_same(**original, **copy, "after loading");
  if (plan.config.clock == ClockSource::kHost) return 0;
  // In parts, so that what differs is found soon after it begins to.
  for (u64 done = 0; done < plan.more; done += plan.step) {
    if ((*original)->run(plan.step).end != RunEnd::kInstructionLimit) give_up("the first machine stopped");
    if ((*copy)->run(plan.step).end != RunEnd::kInstructionLimit) give_up("the second machine stopped");
    expect_same(**original, **copy, "after running on");
  }
  return 0;
}

}  // namespace
}  // namespace doppel

int main(int argc, char** argv) {
  doppel::Plan plan;
  plan.config.engine = doppel::EngineChoice::kInterp;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!doppel::read_option(plan, argv[i], argv[i + 1]))
      doppel::give_up(std::string("unknown key ") + argv[i]);
  }
  return doppel::round_trip(plan);
}
