// Session: what GDB's remote protocol means, packet by packet.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/debug_command.h"
#include "front/gdb/hex.h"

namespace doppel::gdb {

// What the connection is to do after a packet.
enum class After : u8 {
  kGoOn,
  kStopAcknowledging,  // QStartNoAckMode
  kClose,              // detached, or the machine ended
};

// One GDB attached to a machine that stands still when the session begins. All-stop mode; threads are vCPUs,
// numbered from 1. Turns packets into debug commands and stops into packets; knows no socket. Owned by the
// server and used on its thread. Whatever the peer sends is answered or ignored.
class Session {
 public:
  // `send` takes payloads.
  Session(DebugPort port, std::function<void(std::string_view)> send);

  After handle(std::string_view payload);
  // Ctrl-C.
  void interrupt();
  // The machine stopped by itself.
  After stopped(const DebugStop& stop);
  bool is_running() const { return is_running_; }

 private:
  struct Stop {
    char kind;  // '0'..'4', as in the Z packet
    u64 address;
    u64 size;
    bool operator==(const Stop&) const = default;
  };

  void reply(std::string_view payload) { send_(payload); }
  void reply_result(bool is_ok) { send_(is_ok ? "OK" : "E01"); }
  bool execute(const DebugCommand& command) { return port_(command).has_value(); }
  After handle_stopped(std::string_view payload);
  std::optional<unsigned> scan_thread(Scanner& scanner, unsigned any) const;

  // session_state.cc: registers, memory, breakpoints
  void read_registers();
  void write_registers(std::string_view hex);
  void read_one_register(Scanner scanner);
  void write_one_register(Scanner scanner);
  void read_memory(Scanner scanner);
  void write_memory(Scanner scanner, bool is_hex);
  void change_stop(Scanner scanner, bool is_insertion);
  bool apply_stops();

  // session_run.cc: threads, running, stopping
  void select_thread(Scanner scanner);
  void check_thread(Scanner scanner);
  After run_verbose(std::string_view payload);
  void resume_verbose(Scanner scanner);
  void resume_plain(Scanner scanner, DebugMotion motion);
  void resume(std::vector<DebugMotion> motions);
  void report_stop();
  After detach();
  After kill();

  // session_query.cc: general queries
  After query(std::string_view payload);
  void answer_supported(std::string_view features);
  void list_threads();
  void describe_thread(Scanner scanner);
  void transfer_features(Scanner scanner);
  // monitor.cc
  void monitor(std::string_view command);

  DebugPort port_;
  std::function<void(std::string_view)> send_;
  unsigned cpus_ = 1;
  unsigned general_cpu_ = 0;  // of registers and memory
  std::optional<unsigned> step_cpu_;
  std::vector<Stop> stops_;
  bool is_running_ = false;
  bool knows_breakpoint_reasons_ = false;
  // The last stop: what `?` is answered with.
  int signal_;
  std::optional<DebugHit> hit_;
};

}  // namespace doppel::gdb
