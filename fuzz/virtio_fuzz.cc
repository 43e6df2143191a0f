// Fuzzes every virtio device behind both transports: registers, rings, descriptors, PCI configuration and
// MSI-X, device configuration, time, state, and what stands behind the device.
#include <fuzzer/FuzzedDataProvider.h>

#include "base/fake_inputs.h"
#include "base/log.h"
#include "bus/bus_fakes.h"
#include "fuzz/virtio_devices.h"
#include "state/state_buffer.h"
#include "virtio/test_driver.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

namespace doppel::fuzz {
namespace {

constexpr u64 kRam = 2 * kMiB;
constexpr u64 kRings = 64 * kKiB;  // where the driver's rings lie
constexpr unsigned kMostSteps = 200;

constexpr u64 kAddresses[] = {
    0,        0x1000,       0x1ff8,  kRings,         kRings + 16, kRam - 1, kRam - 8, kRam, 3 * kGiB - 1,
    4 * kGiB, u64{1} << 63, ~u64{0}, ~u64{0} - 4095, 0xfee00000,  0x8000};
constexpr u32 kLengths[] = {0,   1,    4,    8,     12,   16,         17,         511,
                            512, 4096, 4097, 65536, kRam, 0x7fffffff, 0x80000000, ~0u};

// A device behind one transport with a driver that keeps no rule for long.
class Attack {
 public:
  explicit Attack(FuzzedDataProvider& input)
      : input_(input), memory_(*GuestMemory::create(kRam)), timers_(inputs_) {
    World world{*memory_, timers_, *loop_, input};
    const TargetKind& kind =
        kTargetKinds[input.ConsumeIntegralInRange<std::size_t>(0, kTargetKinds.size() - 1)];
    target_ = kind.make(world);
    option_ = kind.option;
    if (!target_.device) return;
    const VirtioOptions options{.has_packed = true};
    if (input.ConsumeBool()) {
      pci_ = std::make_unique<VirtioPci>(*memory_, std::move(target_.device), options);
      pci_->function().connect({.decoding_changed = [] {}, .interrupt = &line_, .messages = &messages_});
      pci_->reset();
      bus_test::write_config(pci_->function(), pci::kCommand, 2,
                             pci::kCommandMemory | pci::kCommandBusMaster);
    } else {
      mmio_ = std::make_unique<VirtioMmio>(*memory_, std::move(target_.device), options, line_);
      mmio_->reset();
    }
  }

  void run() {
    if (!pci_ && !mmio_) return;
    start_driver();
    for (unsigned step = 0; step < kMostSteps && input_.remaining_bytes() != 0; ++step) {
      one_step();
      messages_.sent.clear();
    }
    component().reset();
  }

 private:
  VirtioTransportCore& core() { return pci_ ? pci_->core() : mmio_->core(); }
  Component& component() { return pci_ ? static_cast<Component&>(*pci_) : static_cast<Component&>(*mmio_); }
  BusDevice& registers() { return pci_ ? *pci_->function().bar(0).device : *mmio_; }

  void one_step() {
    switch (input_.ConsumeIntegralInRange(0, 18)) {
      case 0:
        return start_driver();
      case 1:
      case 2:
        return access_registers();
      case 3:
        return access_configuration();
      case 4:
        return write_memory();
      case 5:
      case 6:
      case 7:
      case 8:
        return send_buffer();
      case 9:
      case 10:
        return write_descriptor();
      case 11:
        return core().notify(input_.ConsumeIntegralInRange(0u, core().queue_count()));
      case 12:
        return core().reset_queue(input_.ConsumeIntegralInRange(0u, core().queue_count()));
      case 13:
        return pass_time();
      case 14:
        return reload();
      case 15:
        return access_msix();
      case 16:
        return pause();
      default:
        return act_from_outside();
    }
  }

  void start_driver() {
    driver_ = std::make_unique<TestDriver>(*memory_, core(), kRings);
    const bool wants_all = input_.ConsumeBool();
    const u64 features = wants_all ? ~u64{0} : input_.ConsumeIntegral<u64>();
    is_started_ = driver_->start(features, input_.ConsumeIntegralInRange<u16>(1, 16));
  }

  u64 register_offset() {
    const u64 size = pci_ ? VirtioPci::kBarSize : VirtioMmio::kSize;
    const u64 near = input_.ConsumeIntegralInRange<u64>(0, 0x11f);
    if (!pci_) return std::min(near, size - 8);
    const u64 region = input_.PickValueInArray(
        {VirtioPci::kCommonStart, VirtioPci::kIsrStart, VirtioPci::kDeviceStart, VirtioPci::kNotifyStart});
    return std::min(region + near % 0x80, size - 8);
  }

  void access_registers() {
    const u64 offset = register_offset();
    const unsigned size = 1u << input_.ConsumeIntegralInRange(0, 3);
    if (input_.ConsumeBool()) {
      bus_test::write(registers(), align_down(offset, size), size, any_value());
    } else {
      bus_test::read(registers(), align_down(offset, size), size);
    }
  }

  u64 any_value() {
    return input_.ConsumeBool() ? input_.ConsumeIntegralInRange<u64>(0, 20)
                                : input_.PickValueInArray(kAddresses);
  }

  void access_configuration() {
    if (!pci_) return access_registers();
    const u64 offset = input_.ConsumeIntegralInRange<u64>(0, input_.ConsumeBool() ? 0xff : 0xfff);
    const unsigned size = 1u << input_.ConsumeIntegralInRange(0, 2);
    if (input_.ConsumeBool()) {
      const u64 value = input_.ConsumeBool() ? any_value() : input_.ConsumeIntegral<u32>();
      bus_test::write_config(pci_->function(), align_down(offset, size), size, value);
    } else {
      bus_test::read_config(pci_->function(), align_down(offset, size), size);
    }
  }

  // Vector table, pending bits and, to have any effect, the capability's control word.
  void access_msix() {
    if (!pci_) return;
    PciFunction& function = pci_->function();
    const PciBar& bar = function.bar(VirtioPci::kMsixBar);
    const unsigned size = 4u << input_.ConsumeIntegralInRange(0, 1);
    const u64 offset = align_down(input_.ConsumeIntegralInRange<u64>(0, bar.size - 8), size);
    switch (input_.ConsumeIntegralInRange(0, 3)) {
      case 0:
        bus_test::read(*bar.device, offset, size);
        return;
      case 1:
        bus_test::write_config(function, msix_control(), 2, input_.ConsumeIntegral<u16>());
        return;
      default:
        bus_test::write(*bar.device, offset % 0x80, size, any_value());
    }
  }

  u64 msix_control() {
    constexpr u8 kMsixCapability = 0x11;
    u64 at = bus_test::read_config(pci_->function(), 0x34, 1);
    for (int i = 0; i < 48 && at != 0; ++i) {
      if (bus_test::read_config(pci_->function(), at, 1) == kMsixCapability) return at + 2;
      at = bus_test::read_config(pci_->function(), at + 1, 1);
    }
    return 0;
  }

  void pause() {
    component().pause();
    act_from_outside();
    component().resume();
  }

  void write_memory() {
    const u64 place = input_.ConsumeIntegralInRange<u64>(0, 8 * kKiB);
    const std::vector<u8> bytes = input_.ConsumeBytes<u8>(input_.ConsumeIntegralInRange<std::size_t>(0, 64));
    memory_->write(GuestPhys(input_.ConsumeBool() ? place : kRings + place), bytes);
  }

  TestPiece any_piece() {
    TestPiece piece{GuestPhys(input_.PickValueInArray(kAddresses)), input_.PickValueInArray(kLengths),
                    input_.ConsumeBool()};
    if (input_.ConsumeBool()) piece.address = GuestPhys(input_.ConsumeIntegralInRange<u64>(0, kRings));
    return piece;
  }

  // What a driver would send: deep states of devices that answer for others need it.
  bool send_sensible_buffer() {
    unsigned queue = 1;
    std::vector<TestPiece> pieces;
    if (target_.vsock != nullptr && input_.ConsumeBool()) {
      const std::string packet = VsockPeer::packet(input_);
      memory_->write(GuestPhys(0x2000), {reinterpret_cast<const u8*>(packet.data()), packet.size()});
      pieces = {{GuestPhys(0x2000), static_cast<u32>(packet.size() + input_.ConsumeIntegral<u8>()), false}};
    } else if (target_.vsock != nullptr) {
      queue = 0;
      pieces = {{GuestPhys(0x3000), 44u + input_.ConsumeIntegral<u8>(), true}};
    } else if (target_.daemon != nullptr) {
      queue = input_.ConsumeIntegralInRange(0u, 1u);
      pieces = {{GuestPhys(0x2000), 40, false},
                {GuestPhys(0x3000), 16u + input_.ConsumeIntegral<u8>(), true}};
    } else {
      return false;
    }
    if (allocated_ < kMiB) driver_->ring(queue).add(pieces, input_.ConsumeBool());
    allocated_ += 16 * pieces.size();
    core().notify(queue);
    return true;
  }

  // A request whose first bytes are the fuzzer's, then pieces by chance.
  void send_buffer() {
    if (!is_started_ || (input_.ConsumeBool() && send_sensible_buffer())) return;
    const unsigned queue = input_.ConsumeIntegralInRange(0u, core().queue_count() - 1);
    const std::string head = input_.ConsumeBytesAsString(input_.ConsumeIntegralInRange<std::size_t>(0, 64));
    const GuestPhys at(0x100 * u64{input_.ConsumeIntegralInRange<u8>(0, 15)});
    memory_->write(at, {reinterpret_cast<const u8*>(head.data()), head.size()});
    std::vector<TestPiece> pieces;
    if (!head.empty()) pieces.push_back({at, static_cast<u32>(head.size()), false});
    for (unsigned more = input_.ConsumeIntegralInRange(0u, 3u); more != 0; --more)
      pieces.push_back(any_piece());
    if (input_.ConsumeBool()) pieces.push_back({GuestPhys(0x3000), input_.PickValueInArray(kLengths), true});
    if (pieces.empty()) return;
    if (allocated_ < kMiB) driver_->ring(queue).add(pieces, input_.ConsumeBool());
    allocated_ += 16 * pieces.size();
    core().notify(queue);
  }

  // Damages a ring: the device sees it at the next notification.
  void write_descriptor() {
    if (!is_started_) return;
    TestRing& ring = driver_->ring(input_.ConsumeIntegralInRange(0u, core().queue_count() - 1));
    const GuestPhys areas[] = {ring.descriptors, ring.driver, ring.device};
    const GuestPhys place = input_.PickValueInArray(areas) + 2 * input_.ConsumeIntegralInRange<u64>(0, 64);
    memory_->write_value(place, input_.ConsumeIntegral<u16>());
  }

  void pass_time() {
    const auto span = Nanoseconds(input_.ConsumeIntegralInRange<i64>(0, 1'000'000'000));
    inputs_.advance(timers_, span);
  }

  void reload() {
    StateSaver saver;
    component().visit_state(saver);
    std::vector<u8> state = saver.take();
    const bool is_damaged = input_.ConsumeBool();
    if (is_damaged) {
      state[input_.ConsumeIntegralInRange<std::size_t>(0, state.size() - 1)] ^= input_.ConsumeIntegral<u8>();
    } else if (input_.ConsumeBool()) {
      component().reset();
    }
    StateLoader loader(state);
    component().visit_state(loader);
    if (loader.has_failed() && !is_damaged) {
      LOG_ERROR("{} does not load what it saved: {}", option_, loader.finish().error().message);
      std::abort();
    }
    if (loader.has_failed()) {
      component().reset();
      is_started_ = false;
    }
    component().resume();
  }

  void act_from_outside() {
    if (target_.disk != nullptr) target_.disk->complete_some();
    if (target_.net != nullptr) target_.net->deliver(input_.ConsumeIntegral<u16>());
    if (target_.console != nullptr) {
      const std::vector<u8> typed = input_.ConsumeBytes<u8>(20);
      target_.console->input(input_.ConsumeBool() ? 1 : 0).receive(typed);
      target_.console->resize(input_.ConsumeIntegral<u8>(), 25);
    }
    if (target_.balloon != nullptr) {
      target_.balloon->request_statistics();
      target_.balloon->set_target_pages(input_.ConsumeIntegral<u8>());
      target_.balloon->begin_free_page_hints([](GuestPhys, u64) {});
    }
    if (target_.vsock != nullptr) target_.vsock->act(input_);
    if (target_.daemon != nullptr) target_.daemon->act(input_);
    loop_->dispatch_ready();
  }

  FuzzedDataProvider& input_;
  std::unique_ptr<GuestMemory> memory_;
  std::mutex lock_;
  std::unique_lock<std::mutex> held_{lock_};
  std::unique_ptr<EventLoop> loop_ = std::move(*EventLoop::create(lock_));  // never started
  FakeInputs inputs_;
  TimerQueue timers_;
  bus_test::FakeLine line_;
  bus_test::FakeMessages messages_;
  Target target_;
  std::string_view option_;
  std::unique_ptr<VirtioPci> pci_;
  std::unique_ptr<VirtioMmio> mmio_;
  std::unique_ptr<TestDriver> driver_;
  bool is_started_ = false;
  u64 allocated_ = 0;
};

}  // namespace
}  // namespace doppel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  doppel::fuzz::Attack(input).run();
  return 0;
}
