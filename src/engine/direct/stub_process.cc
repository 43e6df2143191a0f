// Talking to a stub process: its stops and mappings come as notifications of its seccomp filter.
#include "engine/direct/stub_process.h"

#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstring>

#include "base/verify.h"
#include "engine/direct/stub_child.h"
#include "engine/direct/syscall_filter.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace doppel::direct {
namespace {

constexpr int kPatienceMs = 500;  // twice this long a kicked process may take to stop
constexpr int kShortMs = 2;       // how long it is held on the monitor's CPU

}  // namespace

Result<std::unique_ptr<StubProcess>> StubProcess::create(StubFactory& factory, const GuestMemory& memory) {
  const UniqueFd file(::memfd_create("doppel-stub", MFD_CLOEXEC));
  if (!file.is_valid() || ::ftruncate(file.get(), kStubBytes) != 0) {
    return fail("direct execution: memfd_create: {}", std::strerror(errno));
  }
  void* shared = ::mmap(nullptr, kStubBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (shared == MAP_FAILED) return fail("direct execution: mmap: {}", std::strerror(errno));
  std::unique_ptr<StubProcess> stub(new StubProcess(static_cast<u8*>(shared)));
  stub->write_code(static_cast<u64>(memory.memfd()));
  stub->parts_ = TRY(factory.make(file.get()));
  ::sched_getaffinity(0, sizeof(stub->host_cpus_), &stub->host_cpus_);
  ::ioctl(stub->listener(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  if (!stub->wait_for_stop()) return fail("direct execution: its process died");
  return stub;
}

StubProcess::~StubProcess() {
  kill();
  ::munmap(shared_, kStubBytes);
}

void StubProcess::kill() {
  if (parts_.process.is_valid()) ::syscall(SYS_pidfd_send_signal, parts_.process.get(), SIGKILL, nullptr, 0);
}

// The code, and the calls with which it begins: away with everything else.
void StubProcess::write_code(u64 ram) {
  const StubCode code = stub_code();
  std::memcpy(shared_ + kCodeOffset, code.start, code.size);
  constexpr u64 kLastDescriptor = ~0u;
  calls().count = 4;
  calls().calls[0] = {SYS_close_range, {0, ram - 1, CLOSE_RANGE_UNSHARE}};
  calls().calls[1] = {SYS_close_range, {ram + 1, kLastDescriptor, 0}};
  calls().calls[2] = {SYS_munmap, {0, kStubBase}};
  calls().calls[3] = {SYS_munmap, {kStubBase + kStubBytes, kHighestGuest - kStubBase - kStubBytes}};
}

void StubProcess::kick() {
  is_kicked_.store(true, std::memory_order_relaxed);
  ::syscall(SYS_pidfd_send_signal, parts_.process.get(), SIGUSR1, nullptr, 0);
}

void* StubProcess::on_signal_stack(u64 address, u64 size) const {
  const u64 offset = address - kStubBase - kSignalStackOffset;
  if (offset > kSignalStackBytes || size > kSignalStackBytes - offset || address % 8 != 0) return nullptr;
  return shared_ + kSignalStackOffset + offset;
}

bool StubProcess::resume(std::span<const HostCall> list) {
  VERIFY(is_stopped_ && list.size() <= StubCalls::kMost);
  std::ranges::copy(list, calls().calls.begin());
  calls().count = list.size();
  expected_ = 0;
  is_kicked_.store(false, std::memory_order_relaxed);
  is_stopped_ = false;
  follow();
  if (!answer(stop_, true)) return false;
  return wait_for_stop();
}

// Process and thread take turns, so one CPU is right for both; waking another one takes several times as long.
void StubProcess::follow() {
  const int here = ::sched_getcpu();
  if (here < 0 || here == host_cpu_) return;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<size_t>(here), &cpus);
  set_host_cpus(cpus);
  host_cpu_ = here;
}

void StubProcess::set_host_cpus(const cpu_set_t& cpus) {
  ::sched_setaffinity(parts_.pid, sizeof(cpus), &cpus);
  host_cpu_ = -1;
}

// `is_allowed`: a stop returns, an mmap() is done.
bool StubProcess::answer(u64 id, bool is_allowed) {
  start_of_run_ = std::chrono::steady_clock::now();
  seccomp_notif_resp response = {};
  response.id = id;
  if (is_allowed) {
    response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  } else {
    response.error = -EPERM;
  }
  return ::ioctl(listener(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 || errno == ENOENT;
}

bool StubProcess::wait_for_stop() {
  bool was_kicked = false;
  while (!is_stopped_) {
    pollfd waiting{.fd = listener(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, host_cpu_ >= 0 ? kShortMs : kPatienceMs);
    if (ready > 0 && (waiting.revents & POLLIN) == 0) return false;
    if (ready > 0 && !take_notification()) return false;
    if (ready != 0) continue;
    if (host_cpu_ >= 0) {
      set_host_cpus(host_cpus_);
      continue;
    }
    // Guest code that blocks signals, with the stub's own way back from them, does not keep a vCPU.
    if (was_kicked) return kill(), false;
    was_kicked = is_kicked_.load(std::memory_order_relaxed);
  }
  return true;
}

bool StubProcess::take_notification() {
  seccomp_notif request = {};
  if (::ioctl(listener(), SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) {
    return errno == EINTR || errno == ENOENT;
  }
  if (request.data.nr == static_cast<int>(kStopCall)) {
    stop_ = request.id;
    is_stopped_ = true;
    return true;
  }
  // Only what the list says next; the arguments are the kernel's copies.
  bool is_allowed = false;
  while (expected_ < calls().count && !is_allowed) {
    const HostCall& next = calls().calls[expected_++];
    is_allowed = static_cast<int>(next.number) == request.data.nr &&
                 std::memcmp(request.data.args, next.arguments.data(), sizeof(next.arguments)) == 0;
  }
  return answer(request.id, is_allowed);
}

}  // namespace doppel::direct
