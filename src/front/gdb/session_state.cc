// Registers, memory and breakpoints.
#include <algorithm>

#include "front/gdb/packet.h"
#include "front/gdb/registers.h"
#include "front/gdb/session.h"

namespace doppel::gdb {
namespace {

// A reply holds two digits a byte.
constexpr u64 kMaxMemory = kMaxPayload / 2;
// More than a person sets; bounds what a peer can make us keep.
constexpr std::size_t kMaxStops = 1024;
constexpr u64 kMaxWatchedBytes = kPageSize;

}  // namespace

void Session::read_registers() {
  DebugRegisters values;
  if (!execute(ReadRegisters{general_cpu_, values})) return reply("E01");
  std::string text;
  for (const Register& one : registers()) text += to_hex(read_register(values, one));
  reply(text);
}

void Session::write_registers(std::string_view hex) {
  const std::optional<std::vector<u8>> bytes = from_hex(hex);
  DebugRegisters values;
  if (!bytes || !execute(ReadRegisters{general_cpu_, values})) return reply("E01");
  std::span<const u8> rest = *bytes;
  for (const Register& one : registers()) {
    if (rest.size() < one.bytes()) return reply("E01");
    if (!write_register(values, one, rest.first(one.bytes()))) return reply("E02");
    rest = rest.subspan(one.bytes());
  }
  reply_result(execute(WriteRegisters{general_cpu_, values}));
}

void Session::read_one_register(Scanner scanner) {
  const std::optional<u64> number = scanner.number();
  if (!number || *number >= registers().size()) return reply("E01");
  DebugRegisters values;
  if (!execute(ReadRegisters{general_cpu_, values})) return reply("E01");
  reply(to_hex(read_register(values, registers()[*number])));
}

void Session::write_one_register(Scanner scanner) {
  const std::optional<u64> number = scanner.number();
  if (!number || *number >= registers().size() || !scanner.skip('=')) return reply("E01");
  const Register& which = registers()[*number];
  const std::optional<std::vector<u8>> bytes = from_hex(scanner.rest());
  if (!bytes || bytes->size() != which.bytes()) return reply("E01");
  DebugRegisters values;
  if (!execute(ReadRegisters{general_cpu_, values})) return reply("E01");
  if (!write_register(values, which, *bytes)) return reply("E02");
  reply_result(execute(WriteRegisters{general_cpu_, values}));
}

// m ADDRESS,LENGTH. A prefix may be answered, so what is readable up to the end of a page is.
void Session::read_memory(Scanner scanner) {
  const std::optional<u64> address = scanner.number();
  if (!address || !scanner.skip(',')) return reply("E01");
  const std::optional<u64> length = scanner.number();
  if (!length || !scanner.is_empty()) return reply("E01");
  std::vector<u8> bytes;
  const u64 wanted = std::min(*length, kMaxMemory);
  while (bytes.size() < wanted) {
    const GuestVirt from(*address + bytes.size());
    const std::size_t done = bytes.size();
    const u64 part = std::min(wanted - done, kPageSize - from.page_offset());
    bytes.resize(done + part);
    if (execute(ReadMemory{general_cpu_, from, std::span(bytes).subspan(done)})) continue;
    bytes.resize(done);
    break;
  }
  if (bytes.empty() && wanted != 0) return reply("E14");
  reply(to_hex(bytes));
}

// M ADDRESS,LENGTH:HEX and X ADDRESS,LENGTH:BYTES.
void Session::write_memory(Scanner scanner, bool is_hex) {
  const std::optional<u64> address = scanner.number();
  if (!address || !scanner.skip(',')) return reply("E01");
  const std::optional<u64> length = scanner.number();
  if (!length || !scanner.skip(':')) return reply("E01");
  const std::string_view rest = scanner.rest();
  const std::optional<std::vector<u8>> bytes =
      is_hex ? from_hex(rest) : std::optional(std::vector<u8>(rest.begin(), rest.end()));
  if (!bytes || bytes->size() != *length) return reply("E01");
  reply(bytes->empty() || execute(WriteMemory{general_cpu_, GuestVirt(*address), *bytes}) ? "OK" : "E14");
}

// Z KIND,ADDRESS,SIZE and z: 0 and 1 breakpoints, 2 to 4 watchpoints for writes, reads and both.
void Session::change_stop(Scanner scanner, bool is_insertion) {
  const std::optional<u64> kind = scanner.number();
  if (!kind || *kind > 4 || !scanner.skip(',')) return reply("");
  const std::optional<u64> address = scanner.number();
  if (!address || !scanner.skip(',')) return reply("E01");
  const std::optional<u64> size = scanner.number();
  if (!size) return reply("E01");
  const Stop stop{static_cast<char>('0' + *kind), *address, *size};
  const auto found = std::ranges::find(stops_, stop);
  if (!is_insertion) {
    if (found != stops_.end()) stops_.erase(found);
    return reply_result(apply_stops());
  }
  if (found != stops_.end()) return reply("OK");
  const bool is_size_possible = *size != 0 && *size <= kMaxWatchedBytes && *size - 1 <= ~*address;
  if (stops_.size() >= kMaxStops || (*kind >= 2 && !is_size_possible)) return reply("E01");
  stops_.push_back(stop);
  if (apply_stops()) return reply("OK");
  stops_.pop_back();
  apply_stops();
  reply("E01");
}

bool Session::apply_stops() {
  DebugControl control;
  for (const Stop& stop : stops_) {
    if (stop.kind <= '1')
      control.breakpoints.emplace_back(stop.address);
    else
      control.watchpoints.push_back({.address = GuestVirt(stop.address),
                                     .size = stop.size,
                                     .on_read = stop.kind != '2',
                                     .on_write = stop.kind != '3'});
  }
  return execute(SetDebugStops{control});
}

}  // namespace doppel::gdb
