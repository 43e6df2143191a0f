// StubProcess: a process of the host whose lower half is an address space of the guest.
#pragma once

#include <atomic>
#include <memory>
#include <span>

#include "base/result.h"
#include "engine/direct/host_place.h"
#include "engine/direct/stub_factory.h"
#include "engine/direct/stub_layout.h"
#include "memory/guest_memory.h"

namespace doppel::direct {

// Besides pages of guest RAM it has its code and a few pages of its own, no descriptor but the RAM's, and a
// filter that lets it ask for nothing. Used by one thread, but for kick().
class StubProcess {
 public:
  static Result<std::unique_ptr<StubProcess>> create(StubFactory& factory, const GuestMemory& memory,
                                                     HostPlace& place);
  ~StubProcess();
  StubProcess(const StubProcess&) = delete;
  StubProcess& operator=(const StubProcess&) = delete;

  // mmap() and munmap() calls in its address space. False: the process is gone.
  bool do_calls(std::span<const HostCall> calls);
  // Lets guest code run until a signal. False: the process is gone, and with it the registers.
  bool resume();
  // What says that the vCPU is wanted: `attention` is not zero, or `pending` true.
  void set_wishes(const std::atomic<i64>& attention, const std::atomic<bool>& pending) {
    attention_ = &attention;
    pending_ = &pending;
  }
  // So long after it was asked to stop the process is ended. Long, as the host may be busy.
  void set_patience(int milliseconds) { patience_ms_ = milliseconds; }
  // How often a look, one each 10 ms, found that it had not stopped although the vCPU was wanted.
  u64 late_stops() const { return late_stops_; }
  // Any thread: stops guest code soon.
  void kick();

  // While it is stopped. Addresses in it are of the stub.
  StubState& state() { return *reinterpret_cast<StubState*>(shared_ + kStateOffset); }
  // Where an object that the stub points to is here; nullptr unless all of it is on the signal stack.
  void* on_signal_stack(u64 address, u64 size) const;

 private:
  StubProcess(u8* shared, HostPlace& place) : shared_(shared), place_(place) {}
  int listener() const { return parts_.listener.get(); }
  void write_pages(u64 ram);
  bool wait_for_stop();
  bool take_stop();
  bool is_alive() const;
  void kill();
  void follow();
  StubCalls& calls() { return *reinterpret_cast<StubCalls*>(shared_ + kCallsOffset); }

  u8* shared_;  // kStubBytes
  HostPlace& place_;
  int cpu_ = HostPlace::kAnywhere;  // that its threads are held on
  StubParts parts_;
  u64 stop_ = 0;  // the notification that waits for an answer
  bool is_wanted() const {
    return attention_ != nullptr && (attention_->load() != 0 || pending_->load(std::memory_order_relaxed));
  }

  const std::atomic<i64>* attention_ = nullptr;
  const std::atomic<bool>* pending_ = nullptr;
  u64 late_stops_ = 0;
  int patience_ms_ = 30'000;
  bool is_stopped_ = false;
  std::atomic<bool> is_kicked_ = false;
};

}  // namespace doppel::direct
