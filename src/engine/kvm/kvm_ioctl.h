// KvmFile: a KVM descriptor and the calls on it.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace doppel::kvm {

// One of the three kinds of KVM descriptors: the device, a machine, a vCPU. Owned by the object that stands for
// it; calls follow the kernel's Documentation/virt/kvm/api.rst.
class KvmFile {
 public:
  KvmFile() = default;
  explicit KvmFile(UniqueFd fd) : fd_(std::move(fd)) {}

  int get() const { return fd_.get(); }

  // The raw call: -1 and errno on failure.
  template <class T>
  int try_call(unsigned long request, T argument) const {
    return ::ioctl(fd_.get(), request, argument);
  }
  // The same; `what` names the call in the error.
  template <class T>
  Result<int> call(unsigned long request, T argument, std::string_view what) const {
    const int answer = try_call(request, argument);
    if (answer < 0) return fail("KVM: {}: {}", what, std::strerror(errno));
    return answer;
  }
  // For calls whose answer says nothing more.
  template <class T>
  Result<void> apply(unsigned long request, T argument, std::string_view what) const {
    TRY_VOID(call(request, argument, what));
    return {};
  }

 private:
  UniqueFd fd_;
};

// A kernel structure that ends in an array: `Header` followed by `count` elements.
template <class Header, class Element>
class KvmArray {
 public:
  explicit KvmArray(u32 count) : words_((sizeof(Header) + count * sizeof(Element) + 7) / 8) {}

  Header* header() { return reinterpret_cast<Header*>(words_.data()); }
  Element* elements() {
    return reinterpret_cast<Element*>(reinterpret_cast<u8*>(words_.data()) + sizeof(Header));
  }

 private:
  std::vector<u64> words_;
};

using KvmCpuidArray = KvmArray<kvm_cpuid2, kvm_cpuid_entry2>;
using KvmMsrArray = KvmArray<kvm_msrs, kvm_msr_entry>;

}  // namespace doppel::kvm
