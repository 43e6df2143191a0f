// ACPI tables as a guest finds them in RAM, checked by hand and by the reference disassembler.
#include "boot/acpi_tables.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "boot/acpi_layout.h"

namespace doppel {
namespace {

using Bytes = std::vector<u8>;

// Installs tables into fresh RAM and reads them back through the root pointer alone.
class Tables {
 public:
  explicit Tables(const AcpiConfig& config = {}) {
    const Result<GuestPhys> root = install_acpi_tables(*memory_, acpi_area_start(*memory_), config);
    EXPECT_TRUE(root) << root.error().message;
    root_ = *memory_->read_value<acpi::RootPointer>(*root);
    Bytes xsdt = table_at(root_.xsdt_address);
    add(xsdt);
    add(table_at(root_.rsdt_address));
    for (std::size_t i = sizeof(acpi::Header); i < xsdt.size(); i += 8) add(table_at(load<u64>(xsdt, i)));
    add(table_at(load<u32>(tables_["FACP"], 40)));  // DSDT
  }

  const acpi::RootPointer& root() const { return root_; }
  const Bytes& operator[](const std::string& signature) { return tables_[signature]; }
  const std::map<std::string, Bytes>& all() const { return tables_; }
  Bytes read(u64 address, std::size_t size) const {
    Bytes bytes(size);
    EXPECT_TRUE(memory_->read(GuestPhys(address), bytes));
    return bytes;
  }

  template <class T>
  static T load(const Bytes& bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, &bytes.at(offset), sizeof(value));
    return value;
  }

 private:
  Bytes table_at(u64 address) const {
    return read(address, memory_->read_value<u32>(GuestPhys(address + 4)).value());
  }
  void add(const Bytes& table) { tables_[std::string(table.begin(), table.begin() + 4)] = table; }

  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create(16 * kMiB).value();
  acpi::RootPointer root_{};
  std::map<std::string, Bytes> tables_;
};

u8 sum(const Bytes& bytes) { return static_cast<u8>(std::accumulate(bytes.begin(), bytes.end(), 0u)); }

// The offsets of MADT entries of one type.
std::vector<std::size_t> entries(const Bytes& madt, u8 type) {
  std::vector<std::size_t> found;
  for (std::size_t at = 44; at < madt.size(); at += madt[at + 1]) {
    if (madt[at] == type) found.push_back(at);
  }
  return found;
}

TEST(AcpiTables, RootPointerLiesWhereGuestsSearch) {
  Tables tables;
  const Bytes bytes = tables.read(0xe0000, 36);
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "RSD PTR ");
  EXPECT_EQ(tables.root().revision, 2);
  EXPECT_EQ(sum(Bytes(bytes.begin(), bytes.begin() + 20)), 0);
  EXPECT_EQ(sum(bytes), 0);
}

TEST(AcpiTables, EveryTableSumsToZero) {
  Tables tables(AcpiConfig{.cpu_count = 3});
  EXPECT_EQ(tables.all().size(), 7u);
  EXPECT_EQ(sum(tables["XSDT"]), 0);
  EXPECT_EQ(sum(tables["RSDT"]), 0);
  EXPECT_EQ(sum(tables["FACP"]), 0);
  EXPECT_EQ(sum(tables["APIC"]), 0);
  EXPECT_EQ(sum(tables["DSDT"]), 0);
  EXPECT_EQ(sum(tables["MCFG"]), 0);
  EXPECT_EQ(sum(tables["HPET"]), 0);
}

TEST(AcpiTables, BothRootTablesNameTheSameTables) {
  Tables tables;
  EXPECT_EQ(Tables::load<u32>(tables["RSDT"], 36), Tables::load<u64>(tables["XSDT"], 36));
  EXPECT_EQ(Tables::load<u32>(tables["RSDT"], 40), Tables::load<u64>(tables["XSDT"], 44));
  EXPECT_EQ(Tables::load<u32>(tables["RSDT"], 48), Tables::load<u64>(tables["XSDT"], 60));
}

TEST(AcpiTables, McfgDescribesOneBus) {
  Tables tables;
  const auto mcfg = Tables::load<acpi::McfgBody>(tables["MCFG"], 36);
  EXPECT_EQ(u64{mcfg.base}, 0xe0000000u);
  EXPECT_EQ(u64{mcfg.first_bus}, 0u);
  EXPECT_EQ(u64{mcfg.last_bus}, 0u);
}

TEST(AcpiTables, HpetIsOptional) {
  Tables with;
  Tables without(AcpiConfig{.has_hpet = false});
  const auto hpet = Tables::load<acpi::HpetBody>(with["HPET"], 36);
  EXPECT_EQ(u64{hpet.address.address}, 0xfed00000u);
  EXPECT_EQ(u64{hpet.event_timer_block}, 0x8086a201u);
  EXPECT_FALSE(without.all().contains("HPET"));
}

TEST(AcpiTables, FadtNamesTheFixedHardware) {
  Tables tables;
  const auto fadt = Tables::load<acpi::FadtBody>(tables["FACP"], 36);
  EXPECT_EQ(u64{fadt.sci_interrupt}, 9u);
  EXPECT_EQ(u64{fadt.smi_command}, 0xb2u);
  EXPECT_EQ(u64{fadt.pm1a_event_block}, 0x600u);
  EXPECT_EQ(u64{fadt.x_pm1a_event_block.address}, 0x600u);
  EXPECT_EQ(u64{fadt.x_pm1a_event_block.bit_width}, 32u);
  EXPECT_EQ(u64{fadt.pm_timer_block}, 0x608u);
  EXPECT_EQ(u64{fadt.reset_register.address}, 0xcf9u);
  EXPECT_EQ(u64{fadt.reset_value}, 6u);
  EXPECT_EQ(u64{fadt.dsdt}, u64{fadt.x_dsdt});
}

TEST(AcpiTables, KeyboardControllerIsAnnouncedOnRequest) {
  Tables without;
  Tables with(AcpiConfig{.has_keyboard_controller = true});
  EXPECT_EQ(u64{Tables::load<acpi::FadtBody>(without["FACP"], 36).boot_architecture}, 0x05u);
  EXPECT_EQ(u64{Tables::load<acpi::FadtBody>(with["FACP"], 36).boot_architecture}, 0x07u);
}

TEST(AcpiTables, FacsIsAlignedToSixtyFourBytes) {
  Tables tables;
  const u64 facs = Tables::load<acpi::FadtBody>(tables["FACP"], 36).facs;
  EXPECT_EQ(facs % 64, 0u);
  const Bytes bytes = tables.read(facs, 64);
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 4), "FACS");
}

TEST(AcpiTables, MadtListsEveryCpu) {
  Tables tables(AcpiConfig{.cpu_count = 4});
  const Bytes& madt = tables["APIC"];
  const auto cpus = entries(madt, 0);
  ASSERT_EQ(cpus.size(), 4u);
  EXPECT_EQ(madt[cpus[3] + 2], 3);
  EXPECT_EQ(madt[cpus[3] + 3], 3);
  EXPECT_EQ(madt[cpus[3] + 4], 1);
}

TEST(AcpiTables, MadtRoutesPitAndSci) {
  Tables tables;
  const Bytes& madt = tables["APIC"];
  const auto overrides = entries(madt, 2);
  ASSERT_EQ(overrides.size(), 2u);
  EXPECT_EQ(Bytes(&madt[overrides[0]], &madt[overrides[0]] + 10), (Bytes{2, 10, 0, 0, 2, 0, 0, 0, 5, 0}));
  EXPECT_EQ(Bytes(&madt[overrides[1]], &madt[overrides[1]] + 10), (Bytes{2, 10, 0, 9, 9, 0, 0, 0, 13, 0}));
}

TEST(AcpiTables, CpusFrom255OnAreX2Apics) {
  Tables tables(AcpiConfig{.cpu_count = 257});
  const Bytes& madt = tables["APIC"];
  EXPECT_EQ(entries(madt, 0).size(), 255u);
  const auto x2 = entries(madt, 9);
  ASSERT_EQ(x2.size(), 2u);
  EXPECT_EQ(Tables::load<u32>(madt, x2[1] + 4), 256u);
  EXPECT_EQ(entries(madt, 10).size(), 1u);
}

TEST(AcpiTables, LargestMachineFits) {
  Tables tables(AcpiConfig{.cpu_count = kMaxAcpiCpus});
  EXPECT_EQ(entries(tables["APIC"], 9).size(), kMaxAcpiCpus - 255);
}

TEST(AcpiTables, RefusesImpossibleRequests) {
  auto memory = GuestMemory::create(2 * kMiB).value();
  EXPECT_FALSE(install_acpi_tables(*memory, GuestPhys(kMiB), {.cpu_count = 0}));
  EXPECT_FALSE(install_acpi_tables(*memory, GuestPhys(kMiB), {.cpu_count = kMaxAcpiCpus + 1}));
  EXPECT_FALSE(install_acpi_tables(*memory, GuestPhys(kMiB + 1), {}));
  EXPECT_FALSE(install_acpi_tables(*memory, GuestPhys(2 * kMiB - 64), {}));
}

// Runs a command in `directory` and returns what it printed, its exit status appended.
std::string run_in(const std::filesystem::path& directory, const std::string& command) {
  const std::filesystem::path log = directory / "log";
  const int status =
      std::system(fmt::format("cd '{}' && {} > log 2>&1", directory.string(), command).c_str());
  std::stringstream text;
  text << std::ifstream(log).rdbuf() << "\nexit " << status;
  return text.str();
}

Bytes body_of(const Bytes& table) {
  EXPECT_GT(table.size(), sizeof(acpi::Header));
  return {table.begin() + static_cast<std::ptrdiff_t>(std::min(table.size(), sizeof(acpi::Header))),
          table.end()};
}

TEST(AcpiTables, ReferenceCompilerAcceptsThem) {
  if (std::system("command -v iasl > /dev/null") != 0) GTEST_SKIP() << "iasl (acpica-tools) is not installed";
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / fmt::format("acpi_tables_{}", getpid());
  std::filesystem::create_directories(directory);
  Tables tables(AcpiConfig{
      .cpu_count = 300,
      .has_keyboard_controller = true,
      .pci_memory64_base = 0x800000000,
      .pci_memory64_size = 0x800000000,
      .generation_page = 0xbfffc000,
      .clock_page = 0xbfffd000,
      .virtio_mmio = {{.address = 0xd0000000, .interrupt = 5}, {.address = 0xd0000200, .interrupt = 6}}});
  for (const auto& [signature, bytes] : tables.all()) {
    std::ofstream(directory / (signature + ".dat"), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  const std::string disassembly = run_in(directory, "iasl -d *.dat");
  EXPECT_TRUE(disassembly.ends_with("exit 0")) << disassembly;
  EXPECT_EQ(disassembly.find("rror"), std::string::npos) << disassembly;
  EXPECT_EQ(disassembly.find("arning"), std::string::npos) << disassembly;
  // The disassembler forgives wrong lengths, so what it read must also compile to the same bytes.
  const std::string assembly = run_in(directory, "iasl -oa DSDT.dsl");
  EXPECT_NE(assembly.find("0 Errors, 0 Warnings, 0 Remarks"), std::string::npos) << assembly;
  std::ifstream compiled(directory / "DSDT.aml", std::ios::binary);
  const Bytes aml((std::istreambuf_iterator<char>(compiled)), std::istreambuf_iterator<char>());
  EXPECT_EQ(body_of(aml), body_of(tables["DSDT"]));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace doppel
