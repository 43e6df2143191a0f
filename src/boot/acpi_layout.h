// Byte layouts of the fixed ACPI tables.
#pragma once

#include <array>

#include "base/types.h"

// ACPI 6.5 chapter 5.2. All fields little-endian, as is the host.
namespace doppel::acpi {

using Signature = std::array<char, 4>;

struct [[gnu::packed]] RootPointer {  // 5.2.5.3
  std::array<char, 8> signature;
  u8 checksum;  // of the first 20 bytes
  std::array<char, 6> oem_id;
  u8 revision;
  u32 rsdt_address;
  u32 length;
  u64 xsdt_address;
  u8 extended_checksum;
  std::array<u8, 3> reserved;
};
static_assert(sizeof(RootPointer) == 36);

struct [[gnu::packed]] Header {  // 5.2.6
  Signature signature;
  u32 length;
  u8 revision;
  u8 checksum;
  std::array<char, 6> oem_id;
  std::array<char, 8> oem_table_id;
  u32 oem_revision;
  std::array<char, 4> creator_id;
  u32 creator_revision;
};
static_assert(sizeof(Header) == 36);

struct [[gnu::packed]] GenericAddress {  // 5.2.3.2
  u8 space;
  u8 bit_width;
  u8 bit_offset;
  u8 access_size;
  u64 address;
};
static_assert(sizeof(GenericAddress) == 12);

struct [[gnu::packed]] FadtBody {  // 5.2.9, after the header
  u32 facs;
  u32 dsdt;
  u8 reserved_model;
  u8 preferred_profile;
  u16 sci_interrupt;
  u32 smi_command;
  u8 acpi_enable;
  u8 acpi_disable;
  u8 s4_bios_request;
  u8 pstate_control;
  u32 pm1a_event_block;
  u32 pm1b_event_block;
  u32 pm1a_control_block;
  u32 pm1b_control_block;
  u32 pm2_control_block;
  u32 pm_timer_block;
  u32 gpe0_block;
  u32 gpe1_block;
  u8 pm1_event_length;
  u8 pm1_control_length;
  u8 pm2_control_length;
  u8 pm_timer_length;
  u8 gpe0_length;
  u8 gpe1_length;
  u8 gpe1_base;
  u8 cst_control;
  u16 c2_latency;
  u16 c3_latency;
  u16 flush_size;
  u16 flush_stride;
  u8 duty_offset;
  u8 duty_width;
  u8 day_alarm;
  u8 month_alarm;
  u8 century;
  u16 boot_architecture;
  u8 reserved;
  u32 flags;
  GenericAddress reset_register;
  u8 reset_value;
  u16 arm_boot_architecture;
  u8 minor_version;
  u64 x_facs;
  u64 x_dsdt;
  GenericAddress x_pm1a_event_block;
  GenericAddress x_pm1b_event_block;
  GenericAddress x_pm1a_control_block;
  GenericAddress x_pm1b_control_block;
  GenericAddress x_pm2_control_block;
  GenericAddress x_pm_timer_block;
  GenericAddress x_gpe0_block;
  GenericAddress x_gpe1_block;
  GenericAddress sleep_control;
  GenericAddress sleep_status;
  u64 hypervisor_vendor;
};
static_assert(sizeof(Header) + sizeof(FadtBody) == 276);

struct [[gnu::packed]] Facs {  // 5.2.10
  Signature signature;
  u32 length;
  u32 hardware_signature;
  u32 waking_vector;
  u32 global_lock;
  u32 flags;
  u64 x_waking_vector;
  u8 version;
  std::array<u8, 3> reserved;
  u32 ospm_flags;
  std::array<u8, 24> reserved_end;
};
static_assert(sizeof(Facs) == 64);

struct [[gnu::packed]] MadtBody {  // 5.2.12, after the header
  u32 local_apic_address;
  u32 flags;
};

struct [[gnu::packed]] MadtLocalApic {  // 5.2.12.2
  u8 type = 0;
  u8 length = 8;
  u8 processor_uid;
  u8 apic_id;
  u32 flags;
};
static_assert(sizeof(MadtLocalApic) == 8);

struct [[gnu::packed]] MadtIoApic {  // 5.2.12.3
  u8 type = 1;
  u8 length = 12;
  u8 io_apic_id;
  u8 reserved = 0;
  u32 address;
  u32 interrupt_base;
};
static_assert(sizeof(MadtIoApic) == 12);

struct [[gnu::packed]] MadtSourceOverride {  // 5.2.12.5
  u8 type = 2;
  u8 length = 10;
  u8 bus = 0;  // ISA
  u8 source;
  u32 interrupt;
  u16 flags;
};
static_assert(sizeof(MadtSourceOverride) == 10);

struct [[gnu::packed]] MadtLocalApicNmi {  // 5.2.12.7
  u8 type = 4;
  u8 length = 6;
  u8 processor_uid;
  u16 flags;
  u8 lint;
};
static_assert(sizeof(MadtLocalApicNmi) == 6);

struct [[gnu::packed]] MadtLocalX2Apic {  // 5.2.12.12
  u8 type = 9;
  u8 length = 16;
  u16 reserved = 0;
  u32 apic_id;
  u32 flags;
  u32 processor_uid;
};
static_assert(sizeof(MadtLocalX2Apic) == 16);

struct [[gnu::packed]] MadtLocalX2ApicNmi {  // 5.2.12.13
  u8 type = 10;
  u8 length = 12;
  u16 flags;
  u32 processor_uid;
  u8 lint;
  std::array<u8, 3> reserved{};
};
static_assert(sizeof(MadtLocalX2ApicNmi) == 12);

struct [[gnu::packed]] McfgBody {  // PCI Firmware 3.2 4.1.2, after the header; one allocation
  u64 reserved;
  u64 base;
  u16 segment;
  u8 first_bus;
  u8 last_bus;
  u32 reserved_end;
};
static_assert(sizeof(Header) + sizeof(McfgBody) == 60);

struct [[gnu::packed]] HpetBody {  // IA-PC HPET 1.0a 3.2.4, after the header
  u32 event_timer_block;           // the low half of the capabilities register
  GenericAddress address;
  u8 number;
  u16 minimum_ticks;
  u8 page_protection;
};
static_assert(sizeof(Header) + sizeof(HpetBody) == 56);

}  // namespace doppel::acpi
