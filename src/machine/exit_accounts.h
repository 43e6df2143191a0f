// ExitAccounts: how often one vCPU left guest code, what for, and how long that took.
#pragma once

#include <array>

#include "base/inputs.h"
#include "base/metrics.h"

namespace doppel {

enum class ExitKind : u8 {
  kMmioRead,
  kMmioWrite,
  kPortRead,
  kPortWrite,
  kApicRead,
  kApicWrite,
  kMsrRead,
  kMsrWrite,
  kInterruptCheck,
  kInterruptTaken,
  kTaskPriority,
  kHypercall,
  kPause,
  kHalt,
  kCount,
};

// Written by the vCPU's thread only; read while it stands still. Every exit is counted. Time is measured for
// one exit in kSampling of a kind, which stands for all of them, so that reading the clock costs nothing that
// shows; halts are long and rare, and measured each time. Which of the kSampling it is, is drawn by lot:
// guests make their exits in patterns, such as a status register and then the data.
class ExitAccounts {
 public:
  static constexpr u32 kSampling = 16;

 private:
  struct Account {
    // True for the exit whose turn it is to be timed.
    bool take_turn() {
      if (--until_timed != 0) return false;
      lot = lot * 1664525 + 1013904223;
      const u32 next_place = lot >> 28;
      until_timed = kSampling - place + next_place;
      place = next_place;
      return true;
    }
    u64 count = 0;
    Nanoseconds time{0};
    u32 until_timed = 1;
    u32 place = 0;  // of the timed one among kSampling
    u32 lot = 1;
  };

 public:
  explicit ExitAccounts(Inputs& inputs) : inputs_(inputs) {}

  void add_halt(Nanoseconds duration) {
    Account& account = of(ExitKind::kHalt);
    ++account.count;
    account.time += duration;
  }
  // A halted vCPU polled before it slept: did what it waits for come meanwhile?
  void add_halt_poll(bool has_found) { ++halt_polls_[has_found ? 1 : 0]; }
  void add_interrupt(u8 vector) { ++vectors_[vector]; }
  void add_metrics(MetricList& list) const;

  // Counts an exit that lasts as long as this object.
  class Meter {
   public:
    Meter(ExitAccounts& accounts, ExitKind kind) : accounts_(accounts), account_(&accounts.of(kind)) {
      ++account_->count;
      is_timed_ = account_->take_turn();
      if (is_timed_) start_ = accounts_.inputs_.now();
    }
    ~Meter() { stop(); }
    Meter(const Meter&) = delete;
    Meter& operator=(const Meter&) = delete;

    bool is_timed() const { return is_timed_; }
    // Ends the measurement of a timed exit; the time that it stands for.
    Nanoseconds stop() {
      if (!is_timed_) return Nanoseconds(0);
      is_timed_ = false;
      const Nanoseconds time = (accounts_.inputs_.now() - start_) * kSampling;
      account_->time += time;
      return time;
    }
    // It is one of these after all.
    void change(ExitKind kind) {
      --account_->count;
      account_ = &accounts_.of(kind);
      ++account_->count;
    }

   private:
    ExitAccounts& accounts_;
    Account* account_;
    bool is_timed_;
    Nanoseconds start_{0};
  };

 private:
  Account& of(ExitKind kind) { return accounts_[static_cast<std::size_t>(kind)]; }

  Inputs& inputs_;
  std::array<Account, static_cast<std::size_t>(ExitKind::kCount)> accounts_;
  std::array<u64, 256> vectors_ = {};
  std::array<u64, 2> halt_polls_ = {};
};

}  // namespace doppel
