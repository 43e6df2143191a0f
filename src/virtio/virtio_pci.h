// VirtioPci: the virtio-over-PCI transport, modern interface only. virtio 1.2 section 4.1.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "bus/msix.h"
#include "bus/pci_function.h"
#include "state/state_visitor.h"
#include "virtio/transport_core.h"

namespace doppel {

// One PCI function: a 64-bit memory BAR with common configuration, ISR, device configuration and
// notifications, a second BAR for MSI-X with one vector for each queue and one for configuration changes, and
// INTA# for drivers without MSI-X. Owned by the machine, which plugs function() into its bus; owns the
// device. Called with the device lock held.
class VirtioPci final : public Component, private BusDevice, private VirtioInterrupts {
 public:
  static constexpr u16 kVendor = 0x1af4;
  static constexpr u16 kFirstDevice = 0x1040;  // plus the virtio device id
  static constexpr unsigned kRegisterBar = 0;
  static constexpr unsigned kMsixBar = 2;

  // Offsets in the register BAR.
  static constexpr u64 kCommonStart = 0x0000;
  static constexpr u64 kIsrStart = 0x1000;
  static constexpr u64 kDeviceStart = 0x2000;
  static constexpr u64 kNotifyStart = 0x3000;
  static constexpr u64 kBarSize = 0x4000;
  static constexpr u32 kNotifyMultiplier = 4;

  VirtioPci(GuestMemory& memory, std::unique_ptr<VirtioDevice> device, const VirtioOptions& options);

  PciFunction& function() { return function_; }
  VirtioTransportCore& core() { return core_; }

  std::string_view name() const override { return "virtio_pci"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;
  void add_metrics(MetricList& list) const override { core_.add_metrics(list); }
  void pause() override { core_.pause(); }
  void resume() override { core_.resume(); }

 private:
  static constexpr u16 kNoVector = 0xffff;

  // 4.1.4.9: a window onto the BARs in configuration space, for firmware that maps none.
  class ConfigAccess final : public PciCapability {
   public:
    explicit ConfigAccess(PciFunction& function) : function_(function) {}
    void set_capability(u8 capability) { capability_ = capability; }
    void before_read(u64 offset, u64 size) override;
    void written(u64 offset, u64 size) override;

   private:
    // The window's place as the driver chose it; null when there is nothing.
    BusDevice* target(u64& offset, u32& length) const;
    std::span<u8> data() { return function_.capability_bytes(capability_).subspan(16, 4); }

    PciFunction& function_;
    u8 capability_ = 0;
  };

  void add_capabilities();
  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;
  void read_common(u64 offset, std::span<u8> data);
  void write_common(u64 offset, unsigned size, u32 value);
  void write_common_word(u64 offset, u16 value);
  void reset_queue();
  void write_queue_address(u64 offset, u32 value);
  void write_status(u8 value);

  u16 usable_vector(u16 vector) const { return vector < msix_.vector_count() ? vector : kNoVector; }
  void queue_interrupt(unsigned queue) override;
  void config_interrupt() override;
  void set_isr(u8 value);
  void forget_vectors();

  std::unique_ptr<VirtioDevice> device_;
  VirtioTransportCore core_;
  PciFunction function_;
  Msix msix_;
  ConfigAccess config_access_;
  u32 device_features_select_ = 0;
  u32 driver_features_select_ = 0;
  u16 queue_select_ = 0;
  u16 config_vector_ = kNoVector;
  std::vector<u16> queue_vectors_;
  u8 isr_ = 0;
};

}  // namespace doppel
