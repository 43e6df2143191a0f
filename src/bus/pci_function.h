// PciFunction: the configuration space of one PCI function, its base address registers and its interrupt pin.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "bus/bus_device.h"
#include "bus/msi_sink.h"
#include "bus/pci_registers.h"
#include "state/state_visitor.h"

namespace doppel {

struct PciIdentity {
  u16 vendor_id = 0xffff;
  u16 device_id = 0xffff;
  u32 class_code = 0xff0000;  // base class, subclass, interface: 24 bits
  u8 revision = 0;
  u16 subsystem_vendor_id = 0;
  u16 subsystem_id = 0;
  bool has_interrupt_pin = false;  // INTA#
  std::string_view name = "pci";   // for statistics; a literal
};

enum class BarKind : u8 { kMemory32, kMemory64, kMemory64Prefetchable, kIo };

// One base address register (or a pair of them) and who answers behind it.
struct PciBar {
  BarKind kind = BarKind::kMemory32;
  u64 size = 0;  // a power of two; 0: the register does not exist
  BusDevice* device = nullptr;

  bool is_io() const { return kind == BarKind::kIo; }
  bool is_64_bit() const { return kind == BarKind::kMemory64 || kind == BarKind::kMemory64Prefetchable; }
};

// What is told about accesses to a capability whose registers do something. Owned by the device beside its
// PciFunction; called with the device lock held. Offsets count from the capability's identifier byte.
class PciCapability {
 public:
  virtual ~PciCapability() = default;
  // Bytes [offset, offset + size) are about to be read; PciFunction::capability_bytes() may be refreshed.
  virtual void before_read(u64 offset, u64 size) { (void)offset, (void)size; }
  // Bytes [offset, offset + size) were written, as far as the capability's write mask allows.
  virtual void written(u64 offset, u64 size) = 0;
  // PCI 3.0 6.8.1.3 and 6.8.2.3: a function whose MSI or MSI-X is enabled does not use its interrupt pin.
  virtual bool replaces_interrupt_pin() const { return false; }
};

// How a plugged-in function reaches the machine. Everything referred to outlives the function's use.
struct PciConnection {
  std::function<void()> decoding_changed;  // BARs moved, or were switched on or off
  InterruptLine* interrupt = nullptr;      // where INTA# leads
  MsiSink* messages = nullptr;
};

// A type 0 configuration space (PCI 3.0 chapter 6) of 4 KiB. The device that has this function owns it as a
// member: it adds BARs and capabilities in its constructor, forwards reset and state, raises interrupts and
// asks is_bus_master() before it touches guest memory. PciBus connects it and reads and writes it on behalf
// of guests. Called with the device lock held.
class PciFunction {
 public:
  explicit PciFunction(const PciIdentity& identity);
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;

  // Building; before the function is plugged in. `size` is a power of two, at least 16 (memory) or 4 (I/O,
  // at most 256). A 64-bit BAR takes the register after `index` too. `device` sees offsets from the BAR.
  void add_bar(unsigned index, BarKind kind, u64 size, BusDevice& device);
  // `body` is what follows the identifier and the next pointer; `writable` masks the bits of it that a guest
  // may change (as long as `body`, or empty for none). Returns the capability's offset.
  u8 add_capability(u8 id, std::span<const u8> body, std::span<const u8> writable = {},
                    PciCapability* handler = nullptr);

  // For the bus: what firmware would have left in the registers; survives reset().
  void connect(PciConnection connection);
  void set_power_on_address(unsigned bar, u64 address);
  void set_power_on_interrupt_line(u8 line);
  void set_power_on_decoding();  // I/O and memory, as far as there are such BARs
  void set_multi_function();

  // Any size and offset inside the 4 KiB; what lies outside reads as ones and is not written.
  void read_config(u64 offset, std::span<u8> data);
  void write_config(u64 offset, std::span<const u8> data);

  u16 command() const { return static_cast<u16>(load(pci::kCommand, 2)); }
  bool is_bus_master() const { return (command() & pci::kCommandBusMaster) != 0; }
  bool has_interrupt_pin() const { return config_[pci::kInterruptPin] != 0; }

  std::string_view name() const { return name_; }
  const PciBar& bar(unsigned index) const { return bars_[index]; }
  // The address in the register, whether or not it is decoded.
  u64 bar_address(unsigned index) const;
  // The same while the command register lets it be decoded; nothing at address 0 or where the range would
  // wrap or leave the port space.
  std::optional<u64> decoded_address(unsigned index) const;

  // The bytes of the capability at `offset`, the identifier first.
  std::span<u8> capability_bytes(u8 offset);
  std::span<const u8> capability_bytes(u8 offset) const;

  // The interrupt pin: a level. Reaches the line unless masked, or MSI or MSI-X is in use.
  void set_interrupt(bool is_asserted);
  // A capability was switched on or off by other means than a configuration write.
  void update_interrupt();
  // A memory write by the function, so nothing happens while it is no bus master. PCI 3.0 6.2.2.
  void send_message(u64 address, u32 data);

  // Back to the registers' power-on values; the interrupt is released.
  void reset();
  void visit_state(StateVisitor& visitor);

 private:
  using Bytes = std::array<u8, pci::kLegacyConfigSize>;
  struct Capability {
    u8 offset;
    u8 size;
    PciCapability* handler;
  };

  u64 load(u64 offset, unsigned size) const { return load_le(std::span(config_).subspan(offset, size)); }
  void store(u64 offset, unsigned size, u64 value);
  void store_power_on(u64 offset, unsigned size, u64 value);
  void written(u64 offset, u64 size, u16 old_command);
  void notify_decoding();

  // Beyond the first 256 bytes everything reads 0: no extended capability exists (PCI Express 4.0 7.6.1).
  Bytes config_ = {};
  Bytes power_on_ = {};
  Bytes writable_ = {};
  std::array<PciBar, pci::kBarCount> bars_ = {};
  std::vector<Capability> capabilities_;
  PciConnection connection_;
  std::string_view name_;
};

}  // namespace doppel
