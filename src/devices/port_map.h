// Every fixed port, memory address and interrupt of the machine in one place.
#pragma once

#include <array>

#include "base/types.h"

namespace doppel {

// One contiguous range of ports.
struct PortRange {
  u16 base;
  u16 size;
};

// Composed by the machine from irq/.
inline constexpr PortRange kPicPrimaryPorts{0x20, 2};
inline constexpr PortRange kPitPorts{0x40, 4};
inline constexpr PortRange kPitSpeakerPort{0x61, 1};  // NMI status and control: PIT channel 2 gate
inline constexpr PortRange kRtcPorts{0x70, 2};
inline constexpr PortRange kPicSecondaryPorts{0xa0, 2};
inline constexpr PortRange kElcrPorts{0x4d0, 2};

// Rows of devices/registry.cc.
inline constexpr PortRange kKeyboardDataPort{0x60, 1};
inline constexpr PortRange kKeyboardCommandPort{0x64, 1};
inline constexpr PortRange kPostCodePort{0x80, 1};
inline constexpr PortRange kSystemControlAPort{0x92, 1};
inline constexpr PortRange kSmiCommandPorts{0xb2, 2};
inline constexpr PortRange kDebugExitPorts{0xf4, 4};
inline constexpr PortRange kCom1Ports{0x3f8, 8};
inline constexpr PortRange kPanicPort{0x505, 1};
inline constexpr PortRange kAcpiPmPorts{0x600, 0x40};
// The reset control register 0xcf9 lies inside the PCI configuration address register; see ResetControl.
inline constexpr PortRange kPciConfigAddressPorts{0xcf8, 4};
inline constexpr PortRange kPciConfigDataPorts{0xcfc, 4};  // composed by the machine
inline constexpr u16 kResetControlPort = 0xcf9;

// Register blocks inside kAcpiPmPorts, as the FADT reports them. ACPI 6.5 4.8.3 and 4.8.4.1.
inline constexpr PortRange kPm1EventPorts{0x600, 4};
inline constexpr PortRange kPm1ControlPorts{0x604, 2};
inline constexpr PortRange kPmTimerPorts{0x608, 4};
inline constexpr PortRange kGpe0Ports{0x620, 4};

// Values with a meaning agreed between the devices and the ACPI tables.
inline constexpr u8 kSmiCommandAcpiDisable = 0xf0;
inline constexpr u8 kSmiCommandAcpiEnable = 0xf1;
inline constexpr u8 kSleepTypeS5 = 5;
// General-purpose events: the generation identifier and the clock page changed.
inline constexpr u8 kGpeGeneration = 5;
inline constexpr u8 kGpeClock = 6;
inline constexpr u8 kResetControlHardReset = 0x06;

inline constexpr u8 kRtcCenturyIndex = 0x32;  // CMOS byte of the century, BCD

inline constexpr PortRange kPciIoWindow{0xc000, 0x4000};  // where I/O BARs go

// Memory of devices below 4 GiB; RAM ends at 3 GiB.
inline constexpr u64 kPciMemory32Window = 0xc0000000;
inline constexpr u64 kPciMemory32WindowSize = 512 * kMiB;
inline constexpr u64 kEcamAddress = 0xe0000000;  // configuration space of PCI bus 0
inline constexpr u64 kEcamSize = kMiB;
inline constexpr u64 kVirtioMmioAddress = 0xe0200000;  // virtio devices with transport=mmio, a page each
inline constexpr std::size_t kVirtioMmioSlots = 64;
inline constexpr u64 kIoApicAddress = 0xfec00000;
inline constexpr u64 kHpetAddress = 0xfed00000;
inline constexpr u64 kHpetSize = kKiB;
// Revision 1, three comparators, 64-bit counter, legacy replacement, vendor Intel. IA-PC HPET 1.0a 2.3.4.
inline constexpr u32 kHpetIdentity = 0x8086a201;
inline constexpr u64 kLocalApicAddress = 0xfee00000;

// ISA interrupts. The PIT's reaches I/O APIC input 2, the others the input of their own number.
enum IsaIrq : u8 {
  kIrqPit = 0,
  kIrqKeyboard = 1,
  kIrqCascade = 2,
  kIrqCom1 = 4,
  kIrqRtc = 8,
  kIrqSci = 9,       // ACPI: level, active high
  kIrqPciEven = 10,  // PCI interrupts on the 8259 pair, by the device number; level
  kIrqPciOdd = 11,
  kIrqMouse = 12,
};
// What virtio devices with transport=mmio share: level interrupts that no other device uses.
inline constexpr std::array<u8, 6> kVirtioMmioIrqs = {5, 6, 7, 3, 14, 15};
inline constexpr unsigned kPitIoApicInput = 2;
inline constexpr unsigned kFirstPciIoApicInput = 16;  // and seven more: PciResources::input_of()

// Memory of devices above RAM, for BARs that are too large for the window below 4 GiB.
inline constexpr u64 kPciMemory64WindowSize = 32 * kGiB;
constexpr u64 pci_memory64_window(u64 end_of_ram) { return align_up(end_of_ram, kPciMemory64WindowSize); }

}  // namespace doppel
