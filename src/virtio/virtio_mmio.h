// VirtioMmio: the virtio-over-MMIO transport. virtio 1.2 section 4.2.
#pragma once

#include <memory>
#include <string_view>

#include "bus/bus_device.h"
#include "state/state_visitor.h"
#include "virtio/transport_core.h"

namespace doppel {

// One device's register block, version 2, with one level-triggered interrupt line. Owned by the machine,
// which maps kSize bytes of it; owns the device. Called with the device lock held.
class VirtioMmio final : public Component, public BusDevice, private VirtioInterrupts {
 public:
  static constexpr u64 kSize = 0x1000;

  VirtioMmio(GuestMemory& memory, std::unique_ptr<VirtioDevice> device, const VirtioOptions& options,
             InterruptLine& line);

  VirtioTransportCore& core() { return core_; }

  std::string_view name() const override { return "virtio_mmio"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;
  void add_metrics(MetricList& list) const override { core_.add_metrics(list); }
  void pause() override { core_.pause(); }
  void resume() override { core_.resume(); }

  // Registers take aligned accesses of 4 bytes only (4.2.2.2): others read 0 and write nothing. The device's
  // configuration takes any.
  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  u32 read_register(u64 offset) const;
  u32 read_queue_register(u64 offset) const;
  void write_register(u64 offset, u32 value);
  void write_queue_register(u64 offset, u32 value);

  void queue_interrupt(unsigned queue) override;
  void config_interrupt() override;
  void set_interrupts(u32 value);

  std::unique_ptr<VirtioDevice> device_;
  VirtioTransportCore core_;
  InterruptLine& line_;
  u32 device_features_select_ = 0;
  u32 driver_features_select_ = 0;
  u32 queue_select_ = 0;
  u32 interrupts_ = 0;  // pending: the line is high while it is not 0
};

}  // namespace doppel
