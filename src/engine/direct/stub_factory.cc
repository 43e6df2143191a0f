// The factory's process and the talk with it: a request carries the stub's pages, the answer its descriptors.
#include "engine/direct/stub_factory.h"

#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <csignal>

#include <cstring>
#include <optional>
#include <span>

#include "engine/direct/stub_child.h"

namespace doppel::direct {
namespace {

constexpr u64 kHasFsgsbase = 1 << 1;  // AT_HWCAP2

// One number and some descriptors in a message.
bool send_message(int socket, int number, std::span<const int> descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  iovec data{.iov_base = &number, .iov_len = sizeof(number)};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == sizeof(number);
}

struct Message {
  int number = 0;
  int descriptors[2] = {-1, -1};
};

std::optional<Message> receive_message(int socket) {
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  Message result;
  iovec data{.iov_base = &result.number, .iov_len = sizeof(result.number)};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size;
  do size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  if (size != sizeof(result.number)) return std::nullopt;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    std::memcpy(result.descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
  }
  return result;
}

// --- In the factory's process, which has one thread.

// Answers the process's number with the descriptors, or a negative error.
void make_stub(int socket, int shared_file) {
  void* shared = ::mmap(nullptr, kStubBytes, PROT_READ | PROT_WRITE, MAP_SHARED, shared_file, 0);
  if (shared == MAP_FAILED) {
    send_message(socket, -errno, {});
    return;
  }
  auto& state = *reinterpret_cast<StubState*>(static_cast<u8*>(shared) + kStateOffset);
  int process = -1;
  const pid_t parent = ::getpid();
  const long pid = ::syscall(SYS_clone, CLONE_FILES | CLONE_PIDFD | SIGCHLD, 0, &process, 0, 0);
  if (pid == 0) {
    become_stub({.shared_file = shared_file, .parent = parent, .state = &state});
  }
  int error = pid < 0 ? errno : 0;
  volatile i64& listener = state.listener;
  while (error == 0 && listener == kNoListenerYet) {
    if (::kill(static_cast<pid_t>(pid), 0) != 0) error = ESRCH;
    ::sched_yield();
  }
  if (error == 0 && listener < 0) error = static_cast<int>(-listener);
  if (error == 0 && state.mapper < 0) error = static_cast<int>(-state.mapper);
  if (error == 0) {
    const int descriptors[] = {process, static_cast<int>(listener)};
    send_message(socket, static_cast<int>(pid), descriptors);
    ::close(descriptors[1]);
  } else {
    send_message(socket, -error, {});
  }
  if (process >= 0) ::close(process);
  ::munmap(shared, kStubBytes);
}

// Until the monitor closes its end or dies.
[[noreturn]] void serve(int socket, int ram, pid_t monitor) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != monitor) ::_exit(1);
  for (int number = 1; number < NSIG; ++number)
    ::signal(number, SIG_IGN);  // SIGCHLD: none is to be waited for
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int low = std::min(socket, ram);
  const int high = std::max(socket, ram);
  constexpr unsigned kAll = ~0u;
  if (low > 0) ::close_range(0, static_cast<unsigned>(low - 1), 0);
  if (high > low + 1) ::close_range(static_cast<unsigned>(low + 1), static_cast<unsigned>(high - 1), 0);
  ::close_range(static_cast<unsigned>(high + 1), kAll, 0);
  while (const std::optional<Message> request = receive_message(socket)) {
    make_stub(socket, request->descriptors[0]);
    ::close(request->descriptors[0]);
  }
  ::_exit(0);
}

}  // namespace

Result<std::unique_ptr<StubFactory>> StubFactory::create(const GuestMemory& memory) {
  if ((::getauxval(AT_HWCAP2) & kHasFsgsbase) == 0) return fail("direct execution: no FSGSBASE");
  if (::getauxval(AT_MINSIGSTKSZ) + kPageSize > kSignalStackBytes) {
    return fail("direct execution: signal frames are too large");
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail("direct execution: socketpair: {}", std::strerror(errno));
  }
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  const pid_t monitor = ::getpid();
  const pid_t process = ::fork();
  if (process == 0) serve(theirs.get(), memory.memfd(), monitor);
  if (process < 0) return fail("direct execution: fork: {}", std::strerror(errno));
  return std::unique_ptr<StubFactory>(new StubFactory(process, std::move(ours)));
}

StubFactory::~StubFactory() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

Result<StubParts> StubFactory::make(int shared_file) {
  const std::lock_guard lock(mutex_);
  const int request[] = {shared_file};
  if (!send_message(socket_.get(), 0, request)) return fail("direct execution: its factory is gone");
  const std::optional<Message> answer = receive_message(socket_.get());
  if (!answer) return fail("direct execution: its factory is gone");
  StubParts parts{.pid = answer->number,
                  .process = UniqueFd(answer->descriptors[0]),
                  .listener = UniqueFd(answer->descriptors[1])};
  if (answer->number <= 0) return fail("direct execution: {}", std::strerror(-answer->number));
  if (!parts.listener.is_valid()) return fail("direct execution: no filter");
  return parts;
}

}  // namespace doppel::direct
