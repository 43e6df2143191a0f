// EngineProfiler: where the guest's time goes, by looking a thousand times a second.
#pragma once

#include <pthread.h>
#include <csignal>

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/symbol_table.h"
#include "cpu/guest_place.h"
#include "cpu/vcpu.h"

namespace doppel {

// A thread looks at each vCPU that executes. Where the engine has a locator, a signal to the vCPU's thread
// asks it; else the vCPU is kicked, and where it comes back, at most a trace later, is what counts. Halted
// vCPUs have no place. Owned by the machine; enter() and leave() are called on the vCPUs' threads, the rest
// on the machine's owner's.
class EngineProfiler {
 public:
  explicit EngineProfiler(unsigned cpus);
  ~EngineProfiler();
  EngineProfiler(const EngineProfiler&) = delete;
  EngineProfiler& operator=(const EngineProfiler&) = delete;

  // Around each Vcpu::run().
  void enter(unsigned cpu, Vcpu& engine);
  void leave(unsigned cpu, Vcpu& engine);

  // A table of functions, or of places where none is known, the most frequent first.
  std::string text(const SymbolTable& symbols);

  static constexpr unsigned kPerSecond = 997;  // in step with nothing

 private:
  static constexpr unsigned kRingEntries = 256;
  static constexpr std::size_t kMaxPlaces = 1'000'000;  // different ones; more count as one
  // Written in the signal handler or by leave(), which never meet; read by the profiler's thread.
  struct Ring {
    std::array<GuestPlace, kRingEntries> places;
    std::atomic<u32> written = 0;
    std::atomic<u32> read = 0;
    std::atomic<u64> lost = 0;
    void put(const GuestPlace& place);
  };
  struct Slot {
    Ring ring;
    std::mutex mutex;
    Vcpu* engine = nullptr;  // guarded by mutex: not null while it runs, on `thread`
    pthread_t thread = {};   // guarded by mutex
    std::atomic<const GuestLocator*> locator = nullptr;
    std::atomic<bool> wants_place = false;  // when the vCPU comes back
  };
  struct PlaceHash {
    std::size_t operator()(const GuestPlace& place) const { return place.rip * 0x9e3779b97f4a7c15 >> 16; }
  };
  struct SamePlace {
    bool operator()(const GuestPlace& a, const GuestPlace& b) const {
      return a.rip == b.rip && a.is_user == b.is_user;
    }
  };
  using Counts = std::array<u64, kDoings>;

  struct Row {
    std::string name;
    bool is_user;
    Counts counts;
    u64 sum;
  };

  static void on_signal(int, siginfo_t* info, void* context);
  void run();
  void look(Slot& slot);
  void collect(Slot& slot);
  std::vector<Row> rows(const SymbolTable& symbols);

  std::vector<std::unique_ptr<Slot>> slots_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_ending_ = false;                                               // guarded by mutex_
  std::unordered_map<GuestPlace, Counts, PlaceHash, SamePlace> places_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace doppel
