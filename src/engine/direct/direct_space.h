// DirectSpace: one address space of the guest as a process of the host.
#pragma once

#include <unordered_map>

#include "cpu/core.h"
#include "engine/direct/page_map.h"
#include "engine/direct/policy.h"
#include "engine/direct/stub_process.h"
#include "engine/direct/user_context.h"

namespace doppel::direct {

// Frames whose code was looked at; a vCPU hears of every write to them.
class ScannedFrames {
 public:
  explicit ScannedFrames(Core& core) : core_(core) {}
  // May code on the page at `address`, which is in this frame, run directly? Marks the frame.
  bool is_runnable(u64 address, GuestPhys frame);
  bool holds(u64 frame) const { return verdicts_.contains(frame); }
  bool forget(u64 frame) { return verdicts_.erase(frame) != 0; }
  void forget_all() { verdicts_.clear(); }

 private:
  Core& core_;
  std::unordered_map<u64, bool> verdicts_;
};

struct DirectStatistics {
  u64 rounds = 0;
  u64 page_faults = 0;
  u64 mapped_pages = 0;
  u64 instructions = 0;  // stops at one that is for the interpreter: system calls, mostly
  u64 kicks = 0;
  u64 starts = 0;  // of processes
  u64 lost = 0;
  u64 nanoseconds = 0;  // that guest code ran for
};

class DirectSpace {
 public:
  DirectSpace(Core& core, ScannedFrames& scanned, DirectStatistics& statistics, bool is_always)
      : policy(is_always), core_(core), scanned_(scanned), statistics_(statistics) {}

  u16 pcid() const { return pcid_; }
  bool has_process() const { return stub_ != nullptr; }
  Result<void> start(StubFactory& factory, HostPlace& place);
  StubProcess* process() { return stub_.get(); }
  // For another address space, or another program in this one.
  void restart(u16 pcid, u64 cr3);
  // Its process is gone.
  void give_up();
  u64 cr3() const { return cr3_; }

  enum class Outcome : u8 {
    kAttention,  // it was kicked
    kInterpret,  // the instruction at RIP is for the interpreter
    kTranslate,  // code at RIP must not run directly
    kLost,       // the process is gone, and the registers are those of the last stop
    kFault,      // a segment register was loaded in a way that the guest's tables do not allow
  };
  // Until something else than a page fault that can be mended stops it.
  Outcome run();

  PageMap pages;
  Policy policy;
  u64 last_use = 0;

 private:
  bool take_selectors(const StopReport& report);
  void step_back();
  bool mend(const StopReport& report);
  bool enter_code(u64 address);
  bool enter_data(u64 address, bool is_write);
  void map_large(u64 address, const Translation& translation);
  void map_around(u64 address);
  void map(u64 address, GuestPhys frame, u8 protection, bool is_large);
  u8 protection_of(u64 address, GuestPhys frame, bool is_writable) const;

  u16 pcid_ = 0;
  u64 cr3_ = 0;
  Core& core_;
  ScannedFrames& scanned_;
  DirectStatistics& statistics_;
  std::unique_ptr<StubProcess> stub_;
  std::vector<std::unique_ptr<StubProcess>> lost_;
  u64 last_fault_ = 0;
  u64 awaited_ = 0;             // a page that the guest's kernel is to map
  bool is_unrunnable_ = false;  // why mend() failed
};

}  // namespace doppel::direct
