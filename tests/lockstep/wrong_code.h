// WrongCode: translated code that does something wrong when it comes to an address.
#pragma once

#include <functional>
#include <memory>

#include "cpu/core.h"
#include "cpu/translated_code.h"

namespace doppel::lockstep_test {

// Passes everything on, and after each block that ended at `rip` damages what it likes.
class WrongCode final : public TranslatedCode {
 public:
  using Damage = std::function<void(Core& core)>;
  WrongCode(std::unique_ptr<TranslatedCode> code, u64 rip, Damage damage)
      : code_(std::move(code)), rip_(rip), damage_(std::move(damage)) {}

  void attach(Core& core, const std::atomic<i64>& attention, const std::atomic<bool>& pending) override {
    core_ = &core;
    code_->attach(core, attention, pending);
  }
  Outcome run(i64& budget) override {
    const Outcome outcome = code_->run(budget);
    if (core_->state.rip == rip_ && damage_) damage_(*core_);
    return outcome;
  }
  NextBlock next_block() override { return code_->next_block(); }
  bool counts_instructions() const override { return code_->counts_instructions(); }
  void attention() override { code_->attention(); }
  bool code_written(GuestPhys address, u64 size) override { return code_->code_written(address, size); }
  bool holds(u64 frame) const override { return code_->holds(frame); }
  void forget_all() override { code_->forget_all(); }
  std::vector<std::pair<std::string_view, u64>> statistics() const override { return code_->statistics(); }
  void add_metrics(MetricList& list) const override { code_->add_metrics(list); }
  GuestPlace locate(u64 host_pc) const override { return code_->locate(host_pc); }

 private:
  std::unique_ptr<TranslatedCode> code_;
  u64 rip_;
  Damage damage_;
  Core* core_ = nullptr;
};

}  // namespace doppel::lockstep_test
