// Builds RSDP, XSDT, RSDT, FADT, FACS, MADT, MCFG, HPET and DSDT.
#include "boot/acpi_tables.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "boot/acpi_dsdt.h"
#include "boot/acpi_layout.h"
#include "devices/port_map.h"

namespace doppel {

namespace {

using namespace acpi;
using Table = std::vector<u8>;

constexpr std::array<char, 6> kOemId = {'D', 'O', 'P', 'P', 'E', 'L'};
constexpr std::array<char, 8> kOemTableId = {'D', 'O', 'P', 'P', 'E', 'L', 'P', 'C'};
constexpr std::array<char, 4> kCreatorId = {'D', 'P', 'P', 'L'};
constexpr u64 kTableAlignment = 64;  // what the FACS needs; the others take 16

// ACPI 6.5 5.2.9: fixed feature flags.
constexpr u32 kFadtWbinvd = 1 << 0;
constexpr u32 kFadtC1OnAllCpus = 1 << 2;
constexpr u32 kFadtNoFixedSleepButton = 1 << 5;
constexpr u32 kFadtNoFixedRtcWake = 1 << 6;
constexpr u32 kFadtTimer32Bits = 1 << 8;
constexpr u32 kFadtHasResetRegister = 1 << 10;
// ACPI 6.5 5.2.9.3: IA-PC boot architecture flags.
constexpr u16 kBootLegacyDevices = 1 << 0;
constexpr u16 kBootKeyboardController = 1 << 1;
constexpr u16 kBootNoVga = 1 << 2;
constexpr u16 kNoC2 = 101;  // latencies above 100 and 1000 microseconds mean that the state does not exist
constexpr u16 kNoC3 = 1001;
constexpr u8 kPmProfileUnspecified = 0;

constexpr u32 kMadtHasPic = 1 << 0;
constexpr u32 kMadtCpuEnabled = 1 << 0;
// ACPI 6.5 table 5.26: MPS INTI flags.
constexpr u16 kEdgeActiveHigh = 0x5;
constexpr u16 kLevelActiveHigh = 0xd;
constexpr u8 kNmiLint = 1;
constexpr u8 kAllProcessors = 0xff;
constexpr u32 kAllX2Processors = 0xffffffff;
// APIC id 255 is the broadcast address of xAPIC mode, so MADT entries of the old kind end at 254.
constexpr unsigned kFirstX2ApicId = 255;

template <class T>
std::span<const u8> bytes_of(const T& value) {
  return {reinterpret_cast<const u8*>(&value), sizeof(value)};
}

void append(Table& table, std::span<const u8> bytes) {
  table.insert(table.end(), bytes.begin(), bytes.end());
}

// The value that makes the sum of all bytes zero.
u8 checksum(std::span<const u8> bytes) {
  return static_cast<u8>(0 - std::accumulate(bytes.begin(), bytes.end(), 0u));
}

Table make_table(const Signature& signature, u8 revision, std::span<const u8> body) {
  const Header header = {.signature = signature,
                         .length = static_cast<u32>(sizeof(Header) + body.size()),
                         .revision = revision,
                         .checksum = 0,
                         .oem_id = kOemId,
                         .oem_table_id = kOemTableId,
                         .oem_revision = 1,
                         .creator_id = kCreatorId,
                         .creator_revision = 1};
  Table table;
  append(table, bytes_of(header));
  append(table, body);
  table[offsetof(Header, checksum)] = checksum(table);
  return table;
}

GenericAddress io_block(PortRange ports) {
  constexpr u8 kSystemIo = 1;
  constexpr u8 kAnyAccess = 0;
  return {kSystemIo, static_cast<u8>(8 * ports.size), 0, kAnyAccess, ports.base};
}

void fill_fixed_hardware(FadtBody& fadt) {
  fadt.sci_interrupt = kIrqSci;
  fadt.smi_command = kSmiCommandPorts.base;
  fadt.acpi_enable = kSmiCommandAcpiEnable;
  fadt.acpi_disable = kSmiCommandAcpiDisable;
  fadt.pm1a_event_block = kPm1EventPorts.base;
  fadt.pm1a_control_block = kPm1ControlPorts.base;
  fadt.pm_timer_block = kPmTimerPorts.base;
  fadt.gpe0_block = kGpe0Ports.base;
  fadt.pm1_event_length = kPm1EventPorts.size;
  fadt.pm1_control_length = kPm1ControlPorts.size;
  fadt.pm_timer_length = kPmTimerPorts.size;
  fadt.gpe0_length = kGpe0Ports.size;
  fadt.x_pm1a_event_block = io_block(kPm1EventPorts);
  fadt.x_pm1a_control_block = io_block(kPm1ControlPorts);
  fadt.x_pm_timer_block = io_block(kPmTimerPorts);
  fadt.x_gpe0_block = io_block(kGpe0Ports);
  fadt.reset_register = io_block({kResetControlPort, 1});
  fadt.reset_register.access_size = 1;  // bytes
  fadt.reset_value = kResetControlHardReset;
}

Table make_fadt(u64 facs, u64 dsdt, const AcpiConfig& config) {
  FadtBody fadt{};
  fadt.facs = static_cast<u32>(facs);
  fadt.dsdt = static_cast<u32>(dsdt);
  // ACPI 6.5 5.2.9: X_FIRMWARE_CTRL stays 0 when FIRMWARE_CTRL is used.
  fadt.x_dsdt = dsdt;
  fadt.preferred_profile = kPmProfileUnspecified;
  fill_fixed_hardware(fadt);
  fadt.c2_latency = kNoC2;
  fadt.c3_latency = kNoC3;
  fadt.century = kRtcCenturyIndex;
  fadt.boot_architecture = kBootLegacyDevices;
  if (config.has_keyboard_controller) fadt.boot_architecture |= kBootKeyboardController;
  if (!config.has_vga) fadt.boot_architecture |= kBootNoVga;
  fadt.flags = kFadtWbinvd | kFadtC1OnAllCpus | kFadtNoFixedSleepButton | kFadtNoFixedRtcWake |
               kFadtTimer32Bits | kFadtHasResetRegister;
  constexpr u8 kRevision = 6;
  return make_table({'F', 'A', 'C', 'P'}, kRevision, bytes_of(fadt));
}

Table make_facs() {
  Facs facs{};
  facs.signature = {'F', 'A', 'C', 'S'};
  facs.length = sizeof(Facs);
  facs.version = 2;
  Table table;
  append(table, bytes_of(facs));
  return table;
}

void append_cpu(Table& body, unsigned index) {
  if (index < kFirstX2ApicId) {
    const auto id = static_cast<u8>(index);
    return append(body,
                  bytes_of(MadtLocalApic{.processor_uid = id, .apic_id = id, .flags = kMadtCpuEnabled}));
  }
  append(body, bytes_of(MadtLocalX2Apic{.apic_id = index, .flags = kMadtCpuEnabled, .processor_uid = index}));
}

Table make_madt(const AcpiConfig& config) {
  Table body;
  append(body, bytes_of(MadtBody{.local_apic_address = u32{kLocalApicAddress}, .flags = kMadtHasPic}));
  for (unsigned i = 0; i < config.cpu_count; ++i) append_cpu(body, i);
  append(body, bytes_of(MadtIoApic{
                   .io_apic_id = config.io_apic_id, .address = u32{kIoApicAddress}, .interrupt_base = 0}));
  append(body, bytes_of(MadtSourceOverride{
                   .source = kIrqPit, .interrupt = kPitIoApicInput, .flags = kEdgeActiveHigh}));
  append(body,
         bytes_of(MadtSourceOverride{.source = kIrqSci, .interrupt = kIrqSci, .flags = kLevelActiveHigh}));
  append(body, bytes_of(MadtLocalApicNmi{
                   .processor_uid = kAllProcessors, .flags = kEdgeActiveHigh, .lint = kNmiLint}));
  if (config.cpu_count > kFirstX2ApicId) {
    append(body, bytes_of(MadtLocalX2ApicNmi{
                     .flags = kEdgeActiveHigh, .processor_uid = kAllX2Processors, .lint = kNmiLint}));
  }
  constexpr u8 kRevision = 5;
  return make_table({'A', 'P', 'I', 'C'}, kRevision, body);
}

Table make_mcfg() {
  const McfgBody body = {.reserved = 0,
                         .base = kEcamAddress,
                         .segment = 0,
                         .first_bus = 0,
                         .last_bus = kEcamSize / kMiB - 1,
                         .reserved_end = 0};
  constexpr u8 kRevision = 1;
  return make_table({'M', 'C', 'F', 'G'}, kRevision, bytes_of(body));
}

Table make_hpet() {
  constexpr u16 kMinimumTicks = 0x1000;  // shorter periods may lose interrupts
  const HpetBody body = {.event_timer_block = kHpetIdentity,
                         .address = {0, 64, 0, 0, kHpetAddress},
                         .number = 0,
                         .minimum_ticks = kMinimumTicks,
                         .page_protection = 0};
  constexpr u8 kRevision = 1;
  return make_table({'H', 'P', 'E', 'T'}, kRevision, bytes_of(body));
}

// RSDT and XSDT differ in the width of an entry only.
template <class Entry>
Table make_root_table(const Signature& signature, const std::vector<u64>& tables) {
  Table body;
  for (const u64 address : tables) append(body, bytes_of(static_cast<Entry>(address)));
  constexpr u8 kRevision = 1;
  return make_table(signature, kRevision, body);
}

RootPointer make_root_pointer(u64 rsdt, u64 xsdt) {
  RootPointer root{};
  root.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
  root.oem_id = kOemId;
  root.revision = 2;
  root.rsdt_address = static_cast<u32>(rsdt);
  root.length = sizeof(root);
  root.xsdt_address = xsdt;
  constexpr std::size_t kFirstPart = 20;  // what ACPI 1.0 knew
  root.checksum = checksum(bytes_of(root).first(kFirstPart));
  root.extended_checksum = checksum(bytes_of(root));
  return root;
}

// Puts tables one after the other into an image that starts at a guest address.
class Placer {
 public:
  explicit Placer(GuestPhys at) : at_(at) {}

  // Returns the guest address of the table.
  u64 place(const Table& table) {
    image_.resize(align_up(image_.size(), kTableAlignment));
    const u64 address = (at_ + image_.size()).value();
    append(image_, table);
    return address;
  }
  const Table& image() const { return image_; }

 private:
  GuestPhys at_;
  Table image_;
};

}  // namespace

Result<GuestPhys> install_acpi_tables(GuestMemory& memory, GuestPhys at, const AcpiConfig& config) {
  if (config.cpu_count == 0 || config.cpu_count > kMaxAcpiCpus) {
    return fail("ACPI tables: {} CPUs are outside 1..{}", config.cpu_count, kMaxAcpiCpus);
  }
  if (at.value() % kTableAlignment != 0 || at.value() >= GuestMemory::kLowRamLimit) {
    return fail("ACPI tables: {:#x} is not a multiple of {} in low RAM", at.value(), kTableAlignment);
  }
  Placer placer(at);
  const u64 facs = placer.place(make_facs());
  constexpr u8 kDsdtRevision = 2;  // 64-bit integers
  const u64 dsdt = placer.place(make_table({'D', 'S', 'D', 'T'}, kDsdtRevision, build_dsdt_aml(config)));
  const u64 fadt = placer.place(make_fadt(facs, dsdt, config));
  const u64 madt = placer.place(make_madt(config));
  std::vector<u64> tables = {fadt, madt, placer.place(make_mcfg())};
  if (config.has_hpet) tables.push_back(placer.place(make_hpet()));
  const u64 rsdt = placer.place(make_root_table<u32>({'R', 'S', 'D', 'T'}, tables));
  const u64 xsdt = placer.place(make_root_table<u64>({'X', 'S', 'D', 'T'}, tables));
  const Table& image = placer.image();
  if (image.size() > kAcpiAreaSize - kSharedPagesSize || !memory.write(at, image)) {
    return fail("ACPI tables: {} bytes do not fit into RAM at {:#x}", image.size(), at.value());
  }
  if (!memory.write(kAcpiRootPointer, bytes_of(make_root_pointer(rsdt, xsdt)))) {
    return fail("ACPI tables: no RAM at {:#x} for the root pointer", kAcpiRootPointer.value());
  }
  return kAcpiRootPointer;
}

}  // namespace doppel
