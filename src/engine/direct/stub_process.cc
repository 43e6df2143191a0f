// Talking to a stub process: its stops and mappings come as notifications of its seccomp filter.
#include "engine/direct/stub_process.h"

#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <csignal>

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

constexpr int kShortMs = 2;  // how long all are held on one CPU
constexpr int kLookMs = 10;  // how often a stub that runs for long is looked at

}  // namespace

Result<std::unique_ptr<StubProcess>> StubProcess::create(StubFactory& factory, const GuestMemory& memory,
                                                         HostPlace& place) {
  const UniqueFd file(::memfd_create("doppel-stub", MFD_CLOEXEC));
  if (!file.is_valid() || ::ftruncate(file.get(), kStubBytes) != 0) {
    return fail("direct execution: memfd_create: {}", std::strerror(errno));
  }
  void* shared = ::mmap(nullptr, kStubBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (shared == MAP_FAILED) return fail("direct execution: mmap: {}", std::strerror(errno));
  std::unique_ptr<StubProcess> stub(new StubProcess(static_cast<u8*>(shared), place));
  stub->write_pages(static_cast<u64>(memory.memfd()));
  stub->parts_ = TRY(factory.make(file.get()));
  ::ioctl(stub->listener(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  stub->parts_.mapper = static_cast<pid_t>(stub->state().mapper);
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

// The code, the filters, and the calls with which it begins: away with everything else.
void StubProcess::write_pages(u64 ram) {
  const StubCode code = stub_code();
  std::memcpy(shared_ + kCodeOffset, code.start, code.size);
  constexpr u64 kLastDescriptor = ~0u;
  write_filters(*reinterpret_cast<StubFilters*>(shared_ + kFiltersOffset));
  state().listener = kNoListenerYet;
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

bool StubProcess::do_calls(std::span<const HostCall> list) {
  VERIFY(is_stopped_ && list.size() <= StubCalls::kMost);
  if (list.empty()) return true;
  std::ranges::copy(list, calls().calls.begin());
  calls().count = list.size();
  const std::atomic_ref sequence(calls().sequence);
  const std::atomic_ref done(state().done);
  const u32 wanted = sequence.load() + 1;
  sequence.store(wanted);
  ::syscall(SYS_futex, &calls().sequence, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  for (u32 now = done.load(); now != wanted; now = done.load()) {
    constexpr timespec kLook{.tv_sec = 0, .tv_nsec = kLookMs * 1'000'000};
    ::syscall(SYS_futex, &state().done, FUTEX_WAIT, now, &kLook, nullptr, 0);
    if (done.load() != now) continue;
    if (!is_alive()) return false;
    ::syscall(SYS_futex, &calls().sequence, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  return true;
}

bool StubProcess::is_alive() const {
  pollfd process{.fd = parts_.process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&process, 1, 0) == 0;
}

bool StubProcess::resume() {
  VERIFY(is_stopped_);
  is_kicked_.store(false, std::memory_order_relaxed);
  is_stopped_ = false;
  place_.gather();
  follow();
  seccomp_notif_resp response = {};
  response.id = stop_;
  if (::ioctl(listener(), SECCOMP_IOCTL_NOTIF_SEND, &response) != 0 && errno != ENOENT) return false;
  return wait_for_stop();
}

// Its threads to where the vCPU's is.
void StubProcess::follow() {
  if (cpu_ == place_.cpu()) return;
  cpu_ = place_.cpu();
  for (const pid_t thread : {parts_.pid, parts_.mapper}) {
    ::sched_setaffinity(thread, sizeof(place_.cpus()), &place_.cpus());
  }
}

// Looks now and then by itself whether the vCPU wants it to stop: no kick needs to arrive.
bool StubProcess::wait_for_stop() {
  int waited_ms = 0;
  while (!is_stopped_) {
    pollfd waiting{.fd = listener(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, cpu_ == HostPlace::kAnywhere ? kLookMs : kShortMs);
    if (ready > 0) {
      if ((waiting.revents & POLLIN) != 0 ? !take_stop() : !is_alive()) return false;
      continue;
    }
    place_.scatter();
    follow();
    if (!is_kicked_.load(std::memory_order_relaxed) && !is_wanted()) continue;
    ++late_stops_;
    kick();
    waited_ms += kLookMs;
    // Guest code that blocks signals, with the stub's own way back from them, does not keep a vCPU.
    if (waited_ms > patience_ms_) return kill(), false;
  }
  return true;
}

bool StubProcess::take_stop() {
  seccomp_notif request = {};
  if (::ioctl(listener(), SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) return errno == EINTR || errno == ENOENT;
  stop_ = request.id;
  is_stopped_ = true;
  return true;
}

}  // namespace doppel::direct
