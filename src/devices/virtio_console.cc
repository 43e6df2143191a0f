// Ports, control messages and configuration of virtio-console.
#include "devices/virtio_console.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/log.h"
#include "base/verify.h"

namespace doppel {

using namespace virtio_console;

namespace {

constexpr u16 kQueueSize = 128;
constexpr u8 event_bit(Event event) { return static_cast<u8>(1U << static_cast<unsigned>(event)); }

}  // namespace

VirtioConsole::VirtioConsole(std::vector<ConsolePortConfig> ports, TimerQueue& timers)
    : retry_(timers, [this](unsigned queue) { queue_notified(queue); }) {
  VERIFY(!ports.empty() && ports.size() <= kMaxPorts);
  for (ConsolePortConfig& config : ports) {
    ports_.emplace_back(*this, static_cast<unsigned>(ports_.size()), std::move(config));
  }
  queue_sizes_.assign(2 * (ports_.size() + 1), kQueueSize);
}

u64 VirtioConsole::device_features() const {
  return kFeatureSize | kFeatureMultiport | kFeatureEmergencyWrite;
}

void VirtioConsole::reset() {
  retry_.cancel();
  for (Port& port : ports_) {
    port.is_described = false;
    port.is_told_open = false;
    port.is_guest_open = false;
    port.pending_events = 0;
    if (port.backend) port.backend->guest_informed();
  }
}

void VirtioConsole::visit_state(StateVisitor& visitor) {
  visitor.field("columns", columns_);
  visitor.field("rows", rows_);
  retry_.visit_state(visitor);
  for (Port& port : ports_) {
    visitor.field("is_described", port.is_described);
    visitor.field("is_told_open", port.is_told_open);
    visitor.field("is_guest_open", port.is_guest_open);
    visitor.field("pending_events", port.pending_events);
    // The other machine's clients are not here.
    const bool is_news = port.is_described && port.is_told_open != port.is_host_open;
    if (visitor.is_loading() && is_news) port.pending_events |= event_bit(Event::kPortOpen);
  }
}

void VirtioConsole::attach(unsigned port, std::unique_ptr<PortBackend> backend) {
  ports_[port].config.sink = backend.get();
  ports_[port].backend = std::move(backend);
  ports_[port].is_host_open = false;
}

void VirtioConsole::set_host_open(unsigned number, bool is_open) {
  Port& port = ports_[number];
  if (port.is_host_open == is_open) return;
  port.is_host_open = is_open;
  if (host_ == nullptr || !is_multiport() || port.is_told_open == is_open) return;
  // A driver that has not asked for the port's description hears with that.
  if (port.is_described) add_event(number, Event::kPortOpen);
  send_control();
}

bool VirtioConsole::is_guest_informed(unsigned port) const {
  return (ports_[port].pending_events & event_bit(Event::kPortOpen)) == 0;
}

void VirtioConsole::read_config(u64 offset, std::span<u8> data) {
  const Config config{.columns = columns_, .rows = rows_, .max_ports = static_cast<u32>(ports_.size())};
  const u8* bytes = reinterpret_cast<const u8*>(&config);
  for (u8& byte : data) {
    byte = offset < sizeof(config) ? bytes[offset] : u8{0};
    ++offset;
  }
}

void VirtioConsole::write_config(u64 offset, std::span<const u8> data) {
  // 5.3.6.1: works at any time; the low byte is the character.
  CharacterSink* sink = ports_[0].config.sink;
  if (offset == kEmergencyWriteOffset && sink != nullptr) sink->put(data.first(1));
}

void VirtioConsole::activate(VirtioHost& host, u64 features) {
  host_ = &host;
  features_ = features;
}

void VirtioConsole::deactivate() {
  host_ = nullptr;
  features_ = 0;
  reset();
}

bool VirtioConsole::is_open(unsigned port) const {
  return host_ != nullptr && (is_multiport() ? ports_[port].is_guest_open : port == 0);
}

void VirtioConsole::queue_notified(unsigned index) {
  if (host_ == nullptr || index >= queue_sizes_.size()) return;
  if (index == kControlReceive || index == kControlTransmit) {
    if (!is_multiport()) return;
    return index == kControlReceive ? send_control() : receive_control();
  }
  const unsigned port = index < 2 ? 0 : index / 2 - 1;
  if (port != 0 && !is_multiport()) return;
  return index == transmit_queue(port) ? transmit(port) : ports_[port].offer_space();
}

void VirtioConsole::transmit(unsigned port) {
  if (host_ == nullptr || (port != 0 && !is_multiport())) return;
  const unsigned index = transmit_queue(port);
  VirtQueue& queue = host_->queue(index);
  for (unsigned count = 0; count < kQueueSize; ++count) {
    if (ports_[port].backend && !ports_[port].backend->has_room()) return;
    const auto chain = queue.pop();
    if (!chain) return;
    write_out(port, *chain);
    queue.push(*chain, 0);
    host_->notify_queue(index);
  }
  retry_.later(index);
}

void VirtioConsole::write_out(unsigned port, const DescriptorChain& chain) {
  if (chain.readable_size() > kLargestWrite) {
    LOG_GUEST("virtio_console: {} bytes in one buffer, {} are taken", chain.readable_size(), kLargestWrite);
  }
  CharacterSink* sink = ports_[port].config.sink;
  if (sink == nullptr) return;
  std::array<u8, 4 * kKiB> bytes;
  for (u64 offset = 0; offset < kLargestWrite; offset += bytes.size()) {
    const std::size_t count = chain.read(offset, bytes);
    if (count == 0) break;
    sink->put(std::span(bytes).first(count));
  }
}

std::size_t VirtioConsole::Port::receive(std::span<const u8> characters) {
  std::size_t taken = 0;
  if (device_.is_open(number_)) {
    const unsigned index = receive_queue(number_);
    VirtQueue& queue = device_.host_->queue(index);
    while (taken < characters.size()) {
      const auto chain = queue.pop();
      if (!chain) break;
      const std::size_t count = chain->write(0, characters.subspan(taken));
      queue.push(*chain, static_cast<u32>(count));
      taken += count;
    }
    if (taken != 0) device_.host_->notify_queue(index);
  }
  was_refused_ = taken < characters.size();
  return taken;
}

void VirtioConsole::Port::offer_space() {
  if (was_refused_ && device_.is_open(number_)) {
    was_refused_ = false;
    announce_input_space();
  }
}

void VirtioConsole::resize(u16 columns, u16 rows) {
  columns_ = columns;
  rows_ = rows;
  if (host_ == nullptr) return;
  if ((features_ & kFeatureSize) != 0) host_->notify_config();
  if (!is_multiport()) return;
  for (unsigned port = 0; port < ports_.size(); ++port) {
    if (ports_[port].config.is_console) add_event(port, Event::kResize);
  }
  send_control();
}

void VirtioConsole::receive_control() {
  VirtQueue& queue = host_->queue(kControlTransmit);
  unsigned count = 0;
  for (; count < kQueueSize; ++count) {
    const auto chain = queue.pop();
    if (!chain) break;
    if (const auto control = chain->read_value<Control>(0)) handle_control(*control);
    queue.push(*chain, 0);
  }
  if (count == kQueueSize) retry_.later(kControlTransmit);
  host_->notify_queue(kControlTransmit);
  send_control();
}

void VirtioConsole::handle_control(const Control& control) {
  if (control.event == Event::kDeviceReady && control.value == 1) {
    for (unsigned port = 0; port < ports_.size(); ++port) add_event(port, Event::kPortAdd);
    return;
  }
  if (control.port >= ports_.size()) return;
  Port& port = ports_[control.port];
  if (control.event == Event::kPortReady && control.value == 1) {
    describe(control.port);
  } else if (control.event == Event::kPortOpen) {
    port.is_guest_open = control.value != 0;
    port.offer_space();
  }
}

void VirtioConsole::describe(unsigned number) {
  Port& port = ports_[number];
  port.is_described = true;
  if (port.config.is_console) add_event(number, Event::kConsolePort);
  if (port.config.is_console && columns_ != 0) add_event(number, Event::kResize);
  if (!port.config.name.empty()) add_event(number, Event::kPortName);
  if (port.is_host_open) add_event(number, Event::kPortOpen);
}

void VirtioConsole::add_event(unsigned port, Event event) { ports_[port].pending_events |= event_bit(event); }

void VirtioConsole::send_control() {
  VirtQueue& queue = host_->queue(kControlReceive);
  bool has_sent = false;
  for (unsigned port = 0; port < ports_.size(); ++port) {
    u8& pending = ports_[port].pending_events;
    while (pending != 0) {
      const auto chain = queue.pop();
      if (!chain) break;
      // In the order of their numbers: a port is added before anything is said about it.
      const auto event = static_cast<Event>(std::countr_zero(pending));
      queue.push(*chain, write_event(*chain, port, event));
      pending &= static_cast<u8>(~event_bit(event));
      has_sent = true;
      if (event == Event::kPortOpen) tell_open(ports_[port]);
    }
  }
  if (has_sent) host_->notify_queue(kControlReceive);
}

void VirtioConsole::tell_open(Port& port) {
  port.is_told_open = port.is_host_open;
  if (port.backend) port.backend->guest_informed();
}

u32 VirtioConsole::write_event(const DescriptorChain& chain, unsigned port, Event event) {
  const bool is_closing = event == Event::kPortOpen && !ports_[port].is_host_open;
  const Control control{.port = port, .event = event, .value = static_cast<u16>(is_closing ? 0 : 1)};
  std::vector<u8> message(sizeof(control));
  std::memcpy(message.data(), &control, sizeof(control));
  if (event == Event::kResize) {
    const Resize resize{control, columns_, rows_};
    message.resize(sizeof(resize));
    std::memcpy(message.data(), &resize, sizeof(resize));
  } else if (event == Event::kPortName) {
    const std::string& text = ports_[port].config.name;
    message.insert(message.end(), text.begin(), text.end());
  }
  if (chain.writable_size() < message.size()) {
    LOG_GUEST("virtio_console: control buffer of {} bytes is too short", chain.writable_size());
    return 0;
  }
  return static_cast<u32>(chain.write(0, message));
}

}  // namespace doppel
