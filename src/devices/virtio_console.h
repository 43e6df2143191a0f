// VirtioConsole: the console device with one or more ports. virtio 1.2 section 5.3.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "devices/port_backend.h"
#include "devices/queue_retry.h"
#include "devices/virtio_console_layout.h"
#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

// One port of the device: what it is called in the guest (/dev/virtio-ports/NAME), and where its output goes.
struct ConsolePortConfig {
  std::string name;
  CharacterSink* sink = nullptr;  // null: what the guest writes is dropped
  bool is_console = false;        // the guest may put a terminal on it (hvc)
};

// Characters in both directions, control messages, terminal size. Ports exist for the device's whole life;
// one without a back end is always open at this end, the others as their back end says. Output takes no
// machine time, but waits in the guest while a back end is full; input waits outside until the guest has
// room. Owned by its transport; called with the device lock held.
class VirtioConsole final : public VirtioDevice {
 public:
  static constexpr unsigned kMaxPorts = 31;
  // What one buffer may carry out; a longer one is cut, with a line in the log.
  static constexpr u64 kLargestWrite = kMiB;

  // 1..kMaxPorts ports.
  VirtioConsole(std::vector<ConsolePortConfig> ports, TimerQueue& timers);

  // Where the user's side types into a port. As long as the device lives.
  ConsoleInput& input(unsigned port) { return ports_[port]; }
  // Before anything runs: the port is closed until set_host_open().
  void attach(unsigned port, std::unique_ptr<PortBackend> backend);
  void set_host_open(unsigned port, bool is_open);
  // False while a message about set_host_open() waits for the guest to take it.
  bool is_guest_informed(unsigned port) const;
  // The port's back end is full no more.
  void output_room(unsigned port) { transmit(port); }

  // The terminal of the console ports has this size from now on.
  void resize(u16 columns, u16 rows);

  std::string_view name() const override { return "virtio_console"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

  u16 device_id() const override { return 3; }
  u64 device_features() const override;
  std::span<const u16> queue_sizes() const override { return queue_sizes_; }
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64 offset, std::span<const u8> data) override;
  void activate(VirtioHost& host, u64 features) override;
  void deactivate() override;
  void queue_notified(unsigned index) override;
  bool can_reset_queue() const override { return true; }

 private:
  // Messages that wait for a buffer of the control queue: one bit for each event, so that there are never
  // more than the driver can be told at once.
  class Port final : public ConsoleInput {
   public:
    Port(VirtioConsole& device, unsigned number, ConsolePortConfig port_config)
        : config(std::move(port_config)), device_(device), number_(number) {}
    std::size_t receive(std::span<const u8> characters) override;
    bool receive_break() override { return true; }  // there is no line to break
    void offer_space();

    ConsolePortConfig config;
    std::unique_ptr<PortBackend> backend;  // is config.sink, too; null: none
    bool is_host_open = true;
    bool is_described = false;  // the driver asked what it is
    bool is_told_open = false;  // what the guest heard of is_host_open last
    bool is_guest_open = false;
    u8 pending_events = 0;

   private:
    VirtioConsole& device_;
    unsigned number_;
    bool was_refused_ = false;  // of the host side: receive() was cut short since the last announcement
  };

  bool is_multiport() const { return (features_ & virtio_console::kFeatureMultiport) != 0; }
  bool is_open(unsigned port) const;
  void transmit(unsigned port);
  void write_out(unsigned port, const DescriptorChain& chain);
  void receive_control();
  void handle_control(const virtio_console::Control& control);
  void describe(unsigned number);
  void tell_open(Port& port);
  void add_event(unsigned port, virtio_console::Event event);
  void send_control();
  // Writes one message; nothing when the buffer is too short for it, which loses it.
  u32 write_event(const DescriptorChain& chain, unsigned port, virtio_console::Event event);

  std::deque<Port> ports_;  // stays in place: others hold references
  std::vector<u16> queue_sizes_;
  u16 columns_ = 0;
  u16 rows_ = 0;
  QueueRetry retry_;
  VirtioHost* host_ = nullptr;
  u64 features_ = 0;
};

}  // namespace doppel
