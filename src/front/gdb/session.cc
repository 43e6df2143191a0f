// Which packet means what.
#include "front/gdb/session.h"

#include "front/gdb/packet.h"

namespace doppel::gdb {
namespace {

// As GDB numbers them, whatever the host's numbers are.
constexpr int kSignalTrap = 5;

}  // namespace

Session::Session(DebugPort port, std::function<void(std::string_view)> send)
    : port_(std::move(port)), send_(std::move(send)), signal_(kSignalTrap) {
  execute(CountCpus{cpus_});
}

After Session::handle(std::string_view payload) {
  // In all-stop mode GDB waits for the stop; a peer that does not gets no answer it could mistake for one.
  if (is_running_ || payload.empty()) return After::kGoOn;
  if (payload == "QStartNoAckMode") {
    reply("OK");
    return After::kStopAcknowledging;
  }
  return handle_stopped(payload);
}

After Session::handle_stopped(std::string_view payload) {
  const Scanner scanner(payload.substr(1));
  switch (payload.front()) {
    case '?':
      report_stop();
      return After::kGoOn;
    case 'g':
      read_registers();
      return After::kGoOn;
    case 'G':
      write_registers(payload.substr(1));
      return After::kGoOn;
    case 'p':
      read_one_register(scanner);
      return After::kGoOn;
    case 'P':
      write_one_register(scanner);
      return After::kGoOn;
    case 'm':
      read_memory(scanner);
      return After::kGoOn;
    case 'M':
    case 'X':
      write_memory(scanner, payload.front() == 'M');
      return After::kGoOn;
    case 'Z':
    case 'z':
      change_stop(scanner, payload.front() == 'Z');
      return After::kGoOn;
    case 'H':
      select_thread(scanner);
      return After::kGoOn;
    case 'T':
      check_thread(scanner);
      return After::kGoOn;
    case 'c':
    case 's':
      resume_plain(scanner, payload.front() == 'c' ? DebugMotion::kContinue : DebugMotion::kStep);
      return After::kGoOn;
    case 'v':
      return run_verbose(payload);
    case 'D':
      return detach();
    case 'k':
      return kill();
    case 'q':
      return query(payload);
    default:
      reply("");  // not known here
      return After::kGoOn;
  }
}

}  // namespace doppel::gdb
