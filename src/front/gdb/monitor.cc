// GDB's `monitor` commands.
#include <array>

#include "front/gdb/packet.h"
#include "front/gdb/session.h"

namespace doppel::gdb {
namespace {

struct MonitorRow {
  std::string_view command;
  DebugReport report;
  std::string_view meaning;
};

constexpr auto kRows = std::to_array<MonitorRow>({
    {"info registers", DebugReport::kRegisters, "every register of the current CPU"},
    {"info exits", DebugReport::kExits, "what the machine's time went into"},
    {"info lapic", DebugReport::kLocalApic, "the current CPU's local APIC"},
    {"info tlb", DebugReport::kTlb, "what the current CPU's page tables map"},
});

std::string help() {
  std::string text;
  for (const MonitorRow& row : kRows) {
    text += row.command;
    text.append(18 - row.command.size(), ' ');
    text += row.meaning;
    text += '\n';
  }
  return text;
}

}  // namespace

void Session::monitor(std::string_view command) {
  std::string text;
  bool is_known = command == "help";
  if (is_known) text = help();
  for (const MonitorRow& row : kRows) {
    if (row.command != command) continue;
    is_known = true;
    const Result<void> done = port_(Report{row.report, general_cpu_, text});
    if (!done) text = done.error().message + "\n";
  }
  if (!is_known) text = "unknown command; these exist:\n" + help();
  constexpr std::size_t kPart = kMaxPayload / 2 - 1;
  for (std::size_t done = 0; done < text.size(); done += kPart)
    reply("O" + to_hex(std::string_view(text).substr(done, kPart)));
  reply("OK");
}

}  // namespace doppel::gdb
