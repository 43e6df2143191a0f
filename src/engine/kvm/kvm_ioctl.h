// KvmFile: a KVM descriptor and the calls on it.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace doppel::kvm {

// One of the three kinds of KVM descriptors: the device, a machine, a vCPU. Owned by the object that stands
// for it; calls follow the kernel's Documentation/virt/kvm/api.rst.
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

// A kernel structure that is a number of elements, perhaps padding, and the elements. The kernel's own
// declarations have another size in C++ than in C, and so have the request numbers that are made from their
// sizes.
template <class Element, std::size_t kHeaderSize>
class KvmArray {
 public:
  explicit KvmArray(u32 count) : words_((kHeaderSize + count * sizeof(Element) + 7) / 8) { set_count(count); }

  void* data() { return words_.data(); }
  u32 count() const { return static_cast<u32>(words_[0]); }
  void set_count(u32 count) { std::memcpy(words_.data(), &count, sizeof(count)); }
  Element* elements() {
    return reinterpret_cast<Element*>(reinterpret_cast<u8*>(words_.data()) + kHeaderSize);
  }

 private:
  std::vector<u64> words_;
};

using CpuidArray = KvmArray<kvm_cpuid_entry2, 8>;
using MsrArray = KvmArray<kvm_msr_entry, 8>;
using MsrList = KvmArray<u32, 4>;

inline constexpr unsigned long kGetMsrIndexList = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x02, 4);
inline constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, 8);
inline constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, 8);
inline constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, 8);
inline constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, 8);

// An XSAVE image in the standard format. SDM 1 13.4.
using XsaveImage = std::array<u8, 4096>;
inline constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, sizeof(XsaveImage));
inline constexpr unsigned long kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, sizeof(XsaveImage));

}  // namespace doppel::kvm
