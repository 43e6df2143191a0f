// Making a console with the ports that the user asked for.
#include "devices/virtio_console_option.h"

#include <algorithm>
#include <array>

#include "devices/console_socket.h"
#include "devices/virtio_console.h"

namespace doppel {
namespace {

constexpr std::string_view kSocketPrefix = "socket=";
constexpr std::size_t kLongestName = 64;

// One value of the option.
struct PortOption {
  ConsolePortConfig config;
  bool is_terminal = false;
  std::string socket;  // its path; empty: none
};

// Names become names of files in the guest.
bool is_port_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kLongestName && name[0] != '.' &&
         std::ranges::all_of(name, is_allowed);
}

Result<PortOption> parse_socket(const OptionList& options) {
  PortOption port;
  port.socket = options.subject().substr(kSocketPrefix.size());
  if (port.socket.empty()) return fail_usage("--console socket=: give the socket's path");
  port.config.name = options.text("name");
  if (!is_port_name(port.config.name)) {
    return fail_usage(
        "--console socket={}: give name=NAME, the port's name in the guest: 1 to {} letters, digits, dots, "
        "dashes and underscores",
        port.socket, kLongestName);
  }
  return port;
}

Result<PortOption> parse_port(const OptionList& options, CharacterSink* terminal) {
  if (options.subject().starts_with(kSocketPrefix)) return parse_socket(options);
  PortOption port;
  port.config = {.name = "console", .is_console = true};
  port.is_terminal = options.subject() == "terminal";
  if (!port.is_terminal && options.subject() != "none") {
    return fail_usage("--console {}: give terminal, none or socket=PATH,name=NAME", options.subject());
  }
  port.config.name = options.text("name", port.config.name);
  if (!is_port_name(port.config.name)) return fail_usage("--console: '{}' is no name", port.config.name);
  if (port.is_terminal) port.config.sink = terminal;
  return port;
}

Result<void> check(std::span<const PortOption> ports, const PortOption& port) {
  if (ports.size() == VirtioConsole::kMaxPorts)
    return fail_usage("--console: given more than {} times", VirtioConsole::kMaxPorts);
  for (const PortOption& other : ports) {
    if (other.is_terminal && port.is_terminal) return fail_usage("--console terminal: given twice");
    if (other.config.name == port.config.name)
      return fail_usage("--console: two ports have the name '{}'", port.config.name);
  }
  return {};
}

}  // namespace

Result<MadeVirtioDevice> make_virtio_console(std::string_view value, const VirtioEnvironment& environment) {
  return make_virtio_console_of_all(std::array{std::string(value)}, environment);
}

Result<MadeVirtioDevice> make_virtio_console_of_all(std::span<const std::string> values,
                                                    const VirtioEnvironment& environment) {
  static constexpr std::array kKeys = {OptionKey{"name"}, kTransportKey, kRingKey};
  MadeVirtioDevice made;
  std::vector<PortOption> ports;
  for (const std::string& value : values) {
    const OptionList options =
        TRY(OptionList::parse("--console", "terminal, none or socket=PATH", value, kKeys));
    if (ports.empty()) {
      made.placement = TRY(parse_placement(options));
    } else if (options.has(kTransportKey.name) || options.has(kRingKey.name)) {
      return fail_usage("--console {}: transport and ring are those of the first --console", value);
    }
    PortOption port = TRY(parse_port(options, environment.terminal));
    TRY_VOID(check(ports, port));
    if (!port.socket.empty() && environment.loop == nullptr) {
      return fail_usage("--console socket: not with --clock instructions: what clients do is not determined");
    }
    ports.push_back(std::move(port));
  }
  std::vector<ConsolePortConfig> configs;
  for (const PortOption& port : ports) configs.push_back(port.config);
  auto device = std::make_unique<VirtioConsole>(std::move(configs), environment.timers);
  for (unsigned i = 0; i < ports.size(); ++i) {
    if (ports[i].is_terminal) {
      made.console_input = &device->input(i);
      made.terminal_console = device.get();
    }
    if (ports[i].socket.empty()) continue;
    auto socket = TRY(ConsoleSocket::create(ports[i].socket, *environment.loop));
    socket->connect_port(*device, i);
    device->attach(i, std::move(socket));
  }
  made.device = std::move(device);
  return made;
}

}  // namespace doppel
