// RunPage: what KVM and this process tell each other about a vCPU.
#pragma once

#include <atomic>

#include "engine/kvm/kvm_ioctl.h"

namespace doppel::kvm {

// The kernel's page of a vCPU, mapped.
class RunPage {
 public:
  RunPage() = default;
  RunPage(const RunPage&) = delete;
  RunPage& operator=(const RunPage&) = delete;
  ~RunPage();
  Result<void> map(const KvmFile& vcpu, u64 size);

  kvm_run* operator->() const { return run_; }
  u8* bytes(u64 offset) const { return reinterpret_cast<u8*>(run_) + offset; }
  // Makes the next KVM_RUN return at once; any thread.
  void set_immediate_exit(bool is_set) { std::atomic_ref(run_->immediate_exit).store(is_set ? 1 : 0); }

 private:
  kvm_run* run_ = nullptr;
  u64 size_ = 0;
};

}  // namespace doppel::kvm
