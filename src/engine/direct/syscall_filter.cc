// Building the filter. seccomp(2).
#include "engine/direct/syscall_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "base/verify.h"

namespace doppel::direct {
namespace {

constexpr sock_filter load(u32 offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset); }
constexpr sock_filter answer(u32 action) { return BPF_STMT(BPF_RET | BPF_K, action); }

struct Rule {
  u32 number;
  u32 action;
};

constexpr Rule kRunnerRules[] = {{kStopCall, SECCOMP_RET_USER_NOTIF},
                                 {SYS_munmap, SECCOMP_RET_ALLOW},
                                 {SYS_close_range, SECCOMP_RET_ALLOW},
                                 {SYS_rt_sigreturn, SECCOMP_RET_ALLOW}};
constexpr Rule kMapperRules[] = {
    {SYS_mmap, SECCOMP_RET_ALLOW}, {SYS_munmap, SECCOMP_RET_ALLOW}, {SYS_futex, SECCOMP_RET_ALLOW}};

std::vector<sock_filter> filter_of(std::span<const Rule> rules) {
  constexpr u32 kAddress = offsetof(seccomp_data, instruction_pointer);
  constexpr u32 kLow = static_cast<u32>(kStubBase);
  std::vector<sock_filter> filter;
  const auto require = [&](u32 offset, unsigned short test, u32 value, bool is_wanted) {
    filter.push_back(load(offset));
    const auto yes = static_cast<u8>(is_wanted ? 1 : 0);
    filter.push_back(
        BPF_JUMP(static_cast<unsigned short>(BPF_JMP | test | BPF_K), value, yes, static_cast<u8>(1 - yes)));
    filter.push_back(answer(SECCOMP_RET_TRAP));
  };
  require(offsetof(seccomp_data, arch), BPF_JEQ, AUDIT_ARCH_X86_64, true);
  require(kAddress + 4, BPF_JEQ, kStubBase >> 32, true);
  require(kAddress, BPF_JGE, kLow, true);
  require(kAddress, BPF_JGE, kLow + static_cast<u32>(kPageSize), false);
  filter.push_back(load(offsetof(seccomp_data, nr)));
  for (const Rule& rule : rules) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule.number, 0, 1));
    filter.push_back(answer(rule.action));
  }
  filter.push_back(answer(SECCOMP_RET_TRAP));
  return filter;
}

}  // namespace

void write_filters(StubFilters& filters) {
  u64 used = 0;
  const auto append = [&](std::span<const Rule> rules) {
    const std::vector<sock_filter> filter = filter_of(rules);
    VERIFY(used + filter.size() <= filters.instructions.size());
    std::ranges::copy(filter, filters.instructions.begin() + static_cast<i64>(used));
    constexpr u64 kPlace = kStubBase + kFiltersOffset + offsetof(StubFilters, instructions);
    const sock_fprog program{.len = static_cast<u16>(filter.size()),
                             .filter = reinterpret_cast<sock_filter*>(kPlace + used * sizeof(sock_filter))};
    used += filter.size();
    return program;
  };
  filters.runner = append(kRunnerRules);
  filters.mapper = append(kMapperRules);
}

}  // namespace doppel::direct
