// General queries.
#include <fmt/format.h>

#include <algorithm>

#include "front/gdb/packet.h"
#include "front/gdb/registers.h"
#include "front/gdb/session.h"

namespace doppel::gdb {

After Session::query(std::string_view payload) {
  Scanner scanner(payload);
  if (scanner.skip("qSupported")) {
    scanner.skip(':');
    answer_supported(scanner.rest());
  } else if (scanner.skip("qXfer:features:read:")) {
    transfer_features(scanner);
  } else if (payload == "qfThreadInfo") {
    list_threads();
  } else if (payload == "qsThreadInfo") {
    reply("l");
  } else if (scanner.skip("qThreadExtraInfo,")) {
    describe_thread(scanner);
  } else if (payload == "qC") {
    reply(fmt::format("QC{:x}", general_cpu_ + 1));
  } else if (payload == "qAttached" || payload.starts_with("qAttached:")) {
    reply("1");
  } else if (scanner.skip("qRcmd,")) {
    const std::optional<std::vector<u8>> command = from_hex(scanner.rest());
    if (command)
      monitor({reinterpret_cast<const char*>(command->data()), command->size()});
    else
      reply("E01");
  } else {
    reply("");
  }
  return After::kGoOn;
}

void Session::answer_supported(std::string_view features) {
  knows_breakpoint_reasons_ = features.find("swbreak+") != std::string_view::npos;
  reply(fmt::format("PacketSize={:x};qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+",
                    kMaxPayload));
}

void Session::list_threads() {
  std::string text = "m";
  for (unsigned cpu = 0; cpu < cpus_; ++cpu) text += fmt::format("{}{:x}", cpu == 0 ? "" : ",", cpu + 1);
  reply(text);
}

void Session::describe_thread(Scanner scanner) {
  const std::optional<unsigned> cpu = scan_thread(scanner, 0);
  DebugRegisters values;
  if (!cpu || !execute(ReadRegisters{*cpu, values})) return reply("E01");
  const char* activity = "running";
  if (values.cpu.activity == Activity::kHalted) activity = "halted";
  if (values.cpu.activity == Activity::kWaitForSipi) activity = "waiting to be started";
  if (values.cpu.activity == Activity::kShutdown) activity = "shut down";
  reply(to_hex(fmt::format("CPU {} [{}]", *cpu, activity)));
}

// qXfer:features:read:ANNEX:OFFSET,LENGTH.
void Session::transfer_features(Scanner scanner) {
  if (scanner.until(':') != "target.xml") return reply("E00");
  const std::optional<u64> offset = scanner.number();
  if (!offset || !scanner.skip(',')) return reply("E01");
  const std::optional<u64> length = scanner.number();
  if (!length) return reply("E01");
  const std::string_view document = target_description();
  if (*offset >= document.size()) return reply("l");
  // Half: each byte may need an escape.
  const std::string_view part = document.substr(*offset, std::min<u64>(*length, kMaxPayload / 2));
  const bool is_last = *offset + part.size() == document.size();
  reply((is_last ? "l" : "m") + std::string(part));
}

}  // namespace doppel::gdb
