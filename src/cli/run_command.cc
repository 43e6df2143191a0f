// Options of `doppel run`, and running a machine on the user's terminal.
#include "cli/run_command.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/log.h"
#include "cli/control_socket.h"
#include "cli/engine_switcher.h"
#include "cli/host_cpu_list.h"
#include "cli/terminal.h"
#include "front/gdb/server.h"

namespace doppel {
namespace {

// Documented in docs/howto/run.md. A debug exit gives (v << 1) | 1, so the others are even.
constexpr int kStatusReset = 4;
constexpr int kStatusGuestPanic = 6;
constexpr int kStatusTripleFault = 8;
constexpr int kStatusHalted = 10;
constexpr u64 kLongestSwitchPeriod = 3'600'000;
constexpr int kStatusSignal = 128;  // plus the signal's number, as shells count

int exit_status(const RunResult& result) {
  switch (result.end) {
    case RunEnd::kPowerOff:
    case RunEnd::kInstructionLimit:
    case RunEnd::kQuit:
      return 0;
    case RunEnd::kDiverged:
    case RunEnd::kMismatch:
      return 1;
    case RunEnd::kReset:
      return kStatusReset;
    case RunEnd::kGuestPanic:
      return kStatusGuestPanic;
    case RunEnd::kTripleFault:
      return kStatusTripleFault;
    case RunEnd::kHalted:
      return kStatusHalted;
    case RunEnd::kDebugExit:
      return result.debug_exit_status;
  }
  return 1;
}

// Passes the guest's output on and looks for a text that ends the run.
class WatchingSink final : public CharacterSink {
 public:
  WatchingSink(CharacterSink& next, std::string text) : next_(next), text_(std::move(text)) {}
  void on_found(std::function<void()> callback) { found_ = std::move(callback); }
  void put(std::span<const u8> characters) override {
    next_.put(characters);
    if (text_.empty()) return;
    seen_.append(reinterpret_cast<const char*>(characters.data()), characters.size());
    if (seen_.find(text_) != std::string::npos && found_) found_();
    if (seen_.size() > text_.size()) seen_.erase(0, seen_.size() - text_.size() + 1);
  }

 private:
  CharacterSink& next_;
  std::string text_;
  std::string seen_;
  std::function<void()> found_;
};

// fmt would throw when nobody reads.
void print(std::FILE* stream, const std::string& text) { std::fputs(text.c_str(), stream); }

// Null when no debugger is wanted.
Result<std::unique_ptr<gdb::GdbServer>> start_debugger(Control& control, const RunOptions& options) {
  if (options.gdb.empty()) {
    if (options.gdb_waits) return fail_usage("--gdb-wait: say with --gdb where the debugger may attach");
    return nullptr;
  }
  std::unique_ptr<gdb::GdbServer> server = TRY(gdb::GdbServer::create(options.gdb));
  control.set_debug_listener([plain = server.get()](const DebugStop& stop) { plain->stopped(stop); });
  if (options.gdb_waits) TRY_VOID(control.execute(PauseForDebug{}));
  server->start([&control](const DebugCommand& command) { return control.execute(command); });
  print(stderr, fmt::format("doppel: gdb may attach at {}\n", server->address()));
  return server;
}

// For commands that nobody waits for.
void run_and_log(Control& control, const Command& command) {
  if (const auto done = control.execute(command); !done) LOG_ERROR("{}", done.error().message);
}

// Null when nobody is to give commands.
Result<std::unique_ptr<ControlSocket>> start_control_socket(Control& control, const RunOptions& options) {
  if (options.control.empty()) return nullptr;
  if (options.clock != "host") {
    return fail_usage("--control: not with --clock instructions: when commands come is not determined");
  }
  std::unique_ptr<ControlSocket> socket = TRY(ControlSocket::create(options.control));
  socket->start([&control](const Command& command) { return control.execute(command); });
  return socket;
}

Result<void> start_terminal(Terminal& terminal, Control& control, const RunOptions& options) {
  if (!options.statistics_path.empty())
    terminal.on_report_signal([&] { run_and_log(control, WriteStatistics{options.statistics_path}); });
  // Typed input has no place in a run that is to repeat exactly.
  if (options.clock != "host") return {};
  terminal.on_resize([&](u16 columns, u16 rows) { run_and_log(control, ResizeTerminal{columns, rows}); });
  return terminal.start(
      [&](std::span<const u8> typed) { return control.execute(TypeCharacters{typed}).value_or(0); },
      [&] { run_and_log(control, Quit{}); }, [&] { run_and_log(control, PressPowerButton{}); });
}

// 0: never.
Result<u64> parse_switch_period(const std::string& text) {
  if (text.empty()) return 0;
  const u64 period = TRY(parse_count("--switch-every", text));
  if (period == 0 || period > kLongestSwitchPeriod) {
    return fail_usage("--switch-every {}: give 1 to {} milliseconds", period, kLongestSwitchPeriod);
  }
  return period;
}

// Its thread reaches into the machine, which goes first when a start fails.
struct TerminalStop {
  Terminal& terminal;
  ~TerminalStop() { terminal.stop(); }
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// Null when none is wanted. Opened before the machine runs: a bad path is known at once.
Result<std::FILE*> open_profile(const std::string& path) {
  if (path.empty()) return nullptr;
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return fail("--profile {}: {}", path, std::strerror(errno));
  return file;
}

void print_results(Control& control, const RunOptions& options) {
  if (options.prints_statistics) print(stderr, control.statistics_text());
  if (options.prints_hash) print(stdout, fmt::format("state hash {:016x}\n", control.state_hash()));
  if (options.prints_state) print(stdout, control.state_text());
}

}  // namespace

CLI::App* add_run_command(CLI::App& app, RunOptions& options) {
  CLI::App* run = app.add_subcommand("run", "Run a virtual machine");
  BootConfig& boot = options.machine.boot;
  run->add_option("--kernel", boot.kernel_path, "Kernel: bzImage, PVH or Multiboot ELF, or flat boot sector")
      ->required();
  run->add_option("--initrd", boot.initrd_path, "Initial RAM disk");
  run->add_option("--cmdline", boot.command_line, "Kernel command line");
  run->add_option("--module", boot.modules, "Multiboot module: file and arguments; may be repeated");
  run->add_option("--protocol", options.protocol, "auto, pvh, linux64, linux32, multiboot or flat");
  run->add_option("--memory", options.memory, "RAM, for example 512M");
  run->add_option("--cpus", options.machine.cpus, "Number of CPUs, 1 to 64");
  run->add_option("--pin", options.pin, "Host CPUs for the CPUs in turn, such as 0,2-5");
  run->add_option("--engine", options.engine, "auto, interp, jit or kvm");
  run->add_option("--direct", options.direct,
                  "Untranslated user code with engine jit: auto (where it pays), off, or always");
  run->add_option("--jit-cache", options.machine.translation_cache,
                  "Keep translations in this file, and begin with those of earlier machines");
  run->add_option("--check-engine", options.check_engine,
                  "interp: let the interpreter do every block of translated code again, and compare");
  run->add_option("--switch-every", options.switch_every,
                  "Change to the next engine that works here after this many milliseconds, again and again");
  run->add_option("--cpu", options.machine.cpu_template,
                  "CPU template: host, x86-64-v2 or x86-64-v3, with changes such as ,+la57,-avx");
  for (const VirtioRow& row : virtio_rows()) {
    run->add_option_function<std::vector<std::string>>(
           std::string(row.option),
           [&options, &row](const std::vector<std::string>& values) {
             for (const std::string& value : values) {
               options.machine.devices.push_back({std::string(row.option), value});
             }
           },
           std::string(row.help))
        ->expected(1)
        ->take_all();
  }
  run->add_option("--clock", options.clock, "host, or instructions for runs that repeat exactly");
  run->add_option("--max-instructions", options.max_instructions, "Stop after this many instructions");
  run->add_option("--exit-on", options.exit_on, "Stop with status 0 when the console shows this text");
  run->add_flag("--print-hash", options.prints_hash, "Print a hash of the machine's state at the end");
  run->add_flag("--print-state", options.prints_state,
                "Print the machine's registers and device state at the end");
  run->add_flag("--stats", options.prints_statistics, "Print statistics at the end");
  run->add_option("--stats-file", options.statistics_path,
                  "Write statistics for Prometheus to this file, on SIGUSR1 and at the end");
  run->add_option("--jit-dump", options.machine.observation.dump,
                  "Write the translator's blocks, guest and host code, to FILE[,rip=ADDRESS][,count=N]");
  run->add_flag("--jit-perf-map", options.machine.observation.has_perf_map,
                "Write /tmp/perf-PID.map, with which perf names translated code");
  run->add_option("--profile", options.profile_path,
                  "Write where the guest's time went to this file, at the end");
  run->add_option("--profile-symbols", options.machine.observation.symbols,
                  "The guest kernel's System.map, /proc/kallsyms or vmlinux, for profiles and perf");
  run->add_option("--gdb", options.gdb, "Let gdb attach: tcp:ADDRESS:PORT or unix:PATH");
  run->add_option("--control", options.control,
                  "Take commands for the running machine, a line each, at unix:PATH");
  run->add_flag("--switchable", options.is_switchable,
                "Prepare the machine for changes between all engines that work here, by command");
  run->add_flag("--gdb-wait", options.gdb_waits, "Start stopped, until gdb lets the machine run");
  return run;
}

Result<int> run_machine(RunOptions& options) {
  MachineConfig& config = options.machine;
  config.memory_bytes = TRY(parse_size(options.memory));
  config.boot.protocol = TRY(parse_boot_protocol(options.protocol));
  config.engine = TRY(parse_engine(options.engine));
  config.direct = TRY(parse_direct(options.direct));
  config.checks_translator = TRY(parse_check_engine(options.check_engine));
  const u64 switch_period = TRY(parse_switch_period(options.switch_every));
  // The control socket may ask for another engine.
  config.is_switchable = switch_period != 0 || options.is_switchable;
  if (options.clock != "host" && options.clock != "instructions") {
    return fail_usage("--clock {}: give host or instructions", options.clock);
  }
  config.host_cpus = TRY(parse_host_cpus(options.pin));
  config.clock = options.clock == "host" ? ClockSource::kHost : ClockSource::kInstructions;
  u64 max_instructions = ~u64{0};
  if (!options.max_instructions.empty()) {
    max_instructions = TRY(parse_count("--max-instructions", options.max_instructions));
    config.counts_instructions = true;
  }
  std::FILE* const profile = TRY(open_profile(options.profile_path));
  const std::unique_ptr<std::FILE, CloseFile> profile_file(profile);
  config.observation.is_profiled = profile_file != nullptr;
  Terminal terminal;
  WatchingSink console(terminal, options.exit_on);
  Control control = TRY(Control::create(config, console));
  console.on_found([&] { run_and_log(control, QuitFromConsole{}); });
  const TerminalStop stop{terminal};
  TRY_VOID(start_terminal(terminal, control, options));
  std::unique_ptr<gdb::GdbServer> debugger = TRY(start_debugger(control, options));
  std::optional<EngineSwitcher> switcher;
  if (switch_period != 0) {
    switcher.emplace(std::chrono::milliseconds(switch_period), [&] { run_and_log(control, SwitchEngine{}); });
  }
  std::unique_ptr<ControlSocket> commands = TRY(start_control_socket(control, options));
  const RunResult result = control.run(max_instructions);
  commands.reset();
  switcher.reset();
  debugger.reset();
  terminal.stop();
  if (!options.statistics_path.empty()) run_and_log(control, WriteStatistics{options.statistics_path});
  if (profile_file) print(profile_file.get(), control.profile_text());
  print_results(control, options);
  if (terminal.received_signal() != 0) return kStatusSignal + terminal.received_signal();
  return exit_status(result);
}

}  // namespace doppel
