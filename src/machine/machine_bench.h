// A machine with its console, on the instruction clock, for tests of whole machines.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "state/state_buffer.h"
#include "state/state_digest.h"

namespace doppel::machine_test {

// Collects what the guest prints. Owned by a test.
class Collector final : public CharacterSink {
 public:
  void put(std::span<const u8> characters) override { text_.append(characters.begin(), characters.end()); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// A machine and what it prints. Owned by a test.
struct Bench {
  Collector console;
  std::unique_ptr<Machine> machine;
};

inline MachineConfig config_of(const std::string& kernel, unsigned cpus = 1) {
  MachineConfig config;
  config.boot.kernel_path = kernel;
  config.memory_bytes = 4 * kMiB;
  config.cpus = cpus;
  config.clock = ClockSource::kInstructions;
  return config;
}

inline std::unique_ptr<Bench> boot(const MachineConfig& config) {
  auto bench = std::make_unique<Bench>();
  Result<std::unique_ptr<Machine>> machine = Machine::create(config, bench->console);
  EXPECT_TRUE(machine) << machine.error().message;
  bench->machine = std::move(*machine);
  return bench;
}

// Boots `code` as a boot sector; the kernel of `config` is not used.
inline std::unique_ptr<Bench> boot_sector(std::span<const u8> code, MachineConfig config = config_of({})) {
  std::array<char, 512> sector = {};
  std::ranges::copy(code, sector.begin());
  sector[510] = 0x55;
  sector[511] = static_cast<char>(0xaa);
  const testing::UnitTest& test = *testing::UnitTest::GetInstance();
  const std::string path = testing::TempDir() + "doppel_machine_test_" + std::to_string(test.random_seed());
  std::ofstream(path, std::ios::binary).write(sector.data(), sector.size());
  config.boot.kernel_path = path;
  std::unique_ptr<Bench> bench = boot(config);
  std::filesystem::remove(path);
  return bench;
}

inline std::vector<u8> save(Bench& bench) {
  StateSaver saver;
  bench.machine->visit_state(saver);
  return saver.take();
}

inline Result<void> load(Bench& bench, std::span<const u8> state) {
  StateLoader loader(state);
  bench.machine->visit_state(loader);
  return loader.finish();
}

inline std::unique_ptr<Bench> empty(const MachineConfig& config) {
  auto bench = std::make_unique<Bench>();
  Result<std::unique_ptr<Machine>> machine = Machine::create_empty(config, bench->console);
  EXPECT_TRUE(machine) << machine.error().message;
  bench->machine = std::move(*machine);
  return bench;
}

inline std::unique_ptr<Bench> copy_of(Bench& original, const MachineConfig& config) {
  std::unique_ptr<Bench> copy = empty(config);
  const Result<void> loaded = load(*copy, save(original));
  EXPECT_TRUE(loaded) << loaded.error().message;
  return copy;
}

inline std::string registers(Bench& bench) {
  StatePrinter printer;
  bench.machine->visit_state(printer, StateScope::kRegisters);
  return printer.text();
}

inline void expect_same_state(Bench& one, Bench& other) {
  EXPECT_EQ(registers(one), registers(other));
  EXPECT_EQ(one.machine->state_hash(), other.machine->state_hash());
}

}  // namespace doppel::machine_test
