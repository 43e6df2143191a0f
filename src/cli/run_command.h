// The `doppel run` command.
#pragma once

#include <CLI/CLI.hpp>

#include "base/parse_number.h"
#include "base/result.h"
#include "control/control.h"

namespace doppel {

struct RunOptions {
  MachineConfig machine;
  std::string memory = "512M";
  std::string engine = "auto";
  std::string direct = "auto";
  std::string check_engine;
  std::string switch_every;  // milliseconds; empty: never
  std::string clock = "host";
  std::string protocol = "auto";
  std::string pin;               // empty: the host decides
  std::string max_instructions;  // empty: no limit
  bool prints_hash = false;
  bool prints_state = false;
  bool prints_statistics = false;
  std::string statistics_path;  // empty: no file
  std::string profile_path;     // empty: no profile
  std::string gdb;              // where a debugger may attach; empty: nowhere
  bool gdb_waits = false;
  std::string control;         // where commands are taken; empty: nowhere
  bool is_switchable = false;  // the engine may be changed by command
  std::string exit_on;
};

// Adds the command and its options.
CLI::App* add_run_command(CLI::App& app, RunOptions& options);
// Runs the machine; the process's exit status.
Result<int> run_machine(RunOptions& options);

}  // namespace doppel
