// The list of registers that KVM keeps.
#include "engine/kvm/kvm_msrs.h"

#include <algorithm>

#include "base/verify.h"
#include "x86/msr.h"

namespace doppel::kvm {
namespace {

struct KeptMsr {
  u32 index;
  u64 CpuState::* member;
};
constexpr KeptMsr kKept[] = {
    {x86::kMsrSysenterCs, &CpuState::sysenter_cs},
    {x86::kMsrSysenterEsp, &CpuState::sysenter_esp},
    {x86::kMsrSysenterEip, &CpuState::sysenter_eip},
    {x86::kMsrPat, &CpuState::pat},
    {x86::kMsrStar, &CpuState::star},
    {x86::kMsrLstar, &CpuState::lstar},
    {x86::kMsrCstar, &CpuState::cstar},
    {x86::kMsrSfmask, &CpuState::sfmask},
    {x86::kMsrKernelGsBase, &CpuState::kernel_gs_base},
    {x86::kMsrSpecCtrl, &CpuState::spec_ctrl},
};

void allow(MsrRange& range, u32 index) {
  const u32 offset = index - range.first;
  range.bitmap[offset / 8] = static_cast<u8>(range.bitmap[offset / 8] | 1u << offset % 8);
}

// The kernel's structure for one register.
Result<void> check_count(int done, u32 wanted, std::string_view what) {
  if (done == static_cast<int>(wanted)) return {};
  return fail("KVM: {}: entry {} is refused", what, done);
}

}  // namespace

std::vector<MsrRange> allowed_ranges(const KvmDevice& device) {
  MsrRange tsc{.first = x86::kMsrTsc, .count = 1, .is_read_only = true};
  allow(tsc, x86::kMsrTsc);
  MsrRange control{.first = x86::kMsrSpecCtrl, .count = 8};
  MsrRange sysenter{.first = x86::kMsrSysenterCs, .count = 8};
  MsrRange pat{.first = x86::kMsrPat, .count = 8};
  MsrRange system{.first = x86::kMsrEfer, .count = 8};
  MsrRange bases{.first = x86::kMsrFsBase, .count = 8};
  for (MsrRange* range : {&control, &sysenter, &pat, &system, &bases}) {
    for (const KeptMsr& kept : kKept) {
      const bool is_inside = kept.index >= range->first && kept.index < range->first + range->count;
      if (is_inside && device.keeps_msr(kept.index)) allow(*range, kept.index);
    }
  }
  if (device.keeps_msr(x86::kMsrSpecCtrl)) allow(control, x86::kMsrPredCmd);
  if (device.keeps_msr(x86::kMsrTscAux)) allow(bases, x86::kMsrTscAux);
  allow(system, x86::kMsrEfer);
  allow(bases, x86::kMsrFsBase);
  allow(bases, x86::kMsrGsBase);
  return {tsc, control, sysenter, pat, system, bases};
}

Result<void> load_msrs(const KvmDevice& device, const KvmFile& vcpu, const CpuState& state) {
  MsrArray array(std::size(kKept) + 1);
  u32 count = 0;
  for (const KeptMsr& kept : kKept) {
    if (device.keeps_msr(kept.index)) array.elements()[count++] = {kept.index, 0, state.*kept.member};
  }
  if (device.keeps_msr(x86::kMsrTscAux)) array.elements()[count++] = {x86::kMsrTscAux, 0, state.tsc_aux};
  array.set_count(count);
  const int done = TRY(vcpu.call(kSetMsrs, array.data(), "loading MSRs"));
  return check_count(done, count, "loading MSRs");
}

Result<void> save_msrs(const KvmDevice& device, const KvmFile& vcpu, CpuState& state) {
  MsrArray array(std::size(kKept) + 1);
  u32 count = 0;
  for (const KeptMsr& kept : kKept) {
    if (device.keeps_msr(kept.index)) array.elements()[count++].index = kept.index;
  }
  if (device.keeps_msr(x86::kMsrTscAux)) array.elements()[count++].index = x86::kMsrTscAux;
  array.set_count(count);
  const int done = TRY(vcpu.call(kGetMsrs, array.data(), "reading MSRs"));
  TRY_VOID(check_count(done, count, "reading MSRs"));
  for (u32 i = 0; i < count; ++i) {
    const kvm_msr_entry& entry = array.elements()[i];
    const auto* kept = std::ranges::find(kKept, entry.index, &KeptMsr::index);
    if (kept != std::end(kKept))
      state.*kept->member = entry.data;
    else
      state.tsc_aux = static_cast<u32>(entry.data);
  }
  return {};
}

Result<u64> read_msr(const KvmFile& vcpu, u32 index) {
  MsrArray array(1);
  array.elements()[0].index = index;
  const int done = TRY(vcpu.call(kGetMsrs, array.data(), "reading an MSR"));
  TRY_VOID(check_count(done, 1, "reading an MSR"));
  return array.elements()[0].data;
}

Result<void> write_msr(const KvmFile& vcpu, u32 index, u64 value) {
  MsrArray array(1);
  array.elements()[0] = {index, 0, value};
  const int done = TRY(vcpu.call(kSetMsrs, array.data(), "loading an MSR"));
  return check_count(done, 1, "loading an MSR");
}

}  // namespace doppel::kvm
