// Mapping a vCPU's page.
#include "engine/kvm/kvm_run_page.h"

#include <sys/mman.h>

namespace doppel::kvm {

RunPage::~RunPage() {
  if (run_ != nullptr) ::munmap(run_, size_);
}

Result<void> RunPage::map(const KvmFile& vcpu, u64 size) {
  void* page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), 0);
  if (page == MAP_FAILED) return fail("KVM: mapping a vCPU: {}", std::strerror(errno));
  run_ = static_cast<kvm_run*>(page);
  size_ = size;
  return {};
}

}  // namespace doppel::kvm
