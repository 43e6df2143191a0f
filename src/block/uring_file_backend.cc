// Moving file calls through the submission and completion rings.
#include "block/uring_file_backend.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/verify.h"

namespace doppel {
namespace {

constexpr unsigned kEntries = 256;
constexpr std::array kOperations = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};

void fill_entry(io_uring_sqe& entry, const FileCall& call) {
  const auto count = static_cast<unsigned>(call.memory.size());
  switch (call.kind) {
    case FileCall::Kind::kRead:
      io_uring_prep_readv(&entry, call.fd, call.memory.data(), count, call.offset);
      break;
    case FileCall::Kind::kWrite:
      io_uring_prep_writev(&entry, call.fd, call.memory.data(), count, call.offset);
      break;
    case FileCall::Kind::kSync:
      io_uring_prep_fsync(&entry, call.fd, IORING_FSYNC_DATASYNC);
      break;
    case FileCall::Kind::kAllocate:
      io_uring_prep_fallocate(&entry, call.fd, call.mode, static_cast<off_t>(call.offset),
                              static_cast<off_t>(call.length));
      break;
    case FileCall::Kind::kNothing:
      io_uring_prep_nop(&entry);
      break;
  }
}

}  // namespace

// Hears of completions by the eventfd or, while it is polled, by looking at the completion ring.
class UringFileBackend::CompletionPoller final : public Poller {
 public:
  CompletionPoller(UringFileBackend& backend, EventLoop& loop) : backend_(backend), loop_(loop) {
    loop_.add(*this);
  }
  ~CompletionPoller() override { loop_.remove(*this); }
  CompletionPoller(const CompletionPoller&) = delete;
  CompletionPoller& operator=(const CompletionPoller&) = delete;

  int prepare(std::vector<pollfd>& waits) override {
    waits.push_back({backend_.event_fd_.get(), POLLIN, 0});
    return -1;
  }
  void dispatch(std::span<const pollfd> waits) override {
    if (waits[0].revents == 0) return;
    u64 count = 0;
    std::ignore = ::read(backend_.event_fd_.get(), &count, sizeof(count));
    backend_.handle_completions();
  }
  void set_polled(bool is_polled) override {
    backend_.is_polled_ = is_polled;
    backend_.set_eventfd(!is_polled);
  }
  bool poll() override {
    if (io_uring_cq_ready(&backend_.ring_) == 0) return false;
    backend_.handle_completions();
    return true;
  }

 private:
  UringFileBackend& backend_;
  EventLoop& loop_;
};

Result<std::unique_ptr<UringFileBackend>> UringFileBackend::create(std::unique_ptr<DiskFile>& file,
                                                                   EventLoop& loop) {
  auto backend = std::unique_ptr<UringFileBackend>(new UringFileBackend());
  TRY_VOID(backend->open_ring());
  backend->file_ = std::move(file);
  backend->poller_ = std::make_unique<CompletionPoller>(*backend, loop);
  return backend;
}

UringFileBackend::UringFileBackend() = default;

Result<void> UringFileBackend::open_ring() {
  if (const int error = io_uring_queue_init(kEntries, &ring_, 0); error != 0) {
    return fail("io_uring: {}", std::strerror(-error));
  }
  has_ring_ = true;
  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  if (probe == nullptr) return fail("io_uring: this kernel's is too old");
  const bool has_all = std::ranges::all_of(
      kOperations, [&](int operation) { return io_uring_opcode_supported(probe, operation) != 0; });
  io_uring_free_probe(probe);
  if (!has_all || (ring_.features & IORING_FEAT_NODROP) == 0) {
    return fail("io_uring: this kernel's is too old");
  }
  event_fd_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_fd_.is_valid()) return fail("io_uring: eventfd: {}", std::strerror(errno));
  if (const int error = io_uring_register_eventfd(&ring_, event_fd_.get()); error != 0) {
    return fail("io_uring: eventfd: {}", std::strerror(-error));
  }
  return {};
}

UringFileBackend::~UringFileBackend() {
  if (file_ != nullptr) abandon();
  poller_.reset();
  if (has_ring_) io_uring_queue_exit(&ring_);
}

FileTransfer* UringFileBackend::take_transfer() {
  if (free_.empty()) {
    transfers_.push_back(std::make_unique<FileTransfer>());
    return transfers_.back().get();
  }
  FileTransfer* transfer = free_.back();
  free_.pop_back();
  return transfer;
}

void UringFileBackend::submit(BlockRequest& request) {
  FileTransfer* transfer = take_transfer();
  transfer->start(*file_, request);
  waiting_.push_back(transfer);
  start_waiting();
}

bool UringFileBackend::may_start(const FileTransfer& transfer) const {
  if (is_exclusive_) return false;
  return running_ == 0 || !transfer.needs_exclusion();
}

void UringFileBackend::start_waiting() {
  while (!waiting_.empty() && may_start(*waiting_.front())) {
    FileTransfer& transfer = *waiting_.front();
    if (!prepare(transfer)) return;
    is_exclusive_ = transfer.needs_exclusion();
    ++running_;
    waiting_.pop_front();
  }
}

// False when the ring has no room: whoever reaps next tries again.
bool UringFileBackend::prepare(FileTransfer& transfer) {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    enter();
    entry = io_uring_get_sqe(&ring_);
  }
  if (entry == nullptr) return false;
  fill_entry(*entry, transfer.next());
  io_uring_sqe_set_data(entry, &transfer);
  return true;
}

// Who turns it on looks at the completion ring afterwards, so nothing falls between.
void UringFileBackend::set_eventfd(bool speaks) {
  io_uring_cq_eventfd_toggle(&ring_, speaks);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

// The eventfd stays silent for what completes inside this call, because the caller reaps after it.
bool UringFileBackend::enter() {
  set_eventfd(false);
  const int submitted = io_uring_submit(&ring_);
  set_eventfd(!is_polled_);
  return submitted > 0;
}

void UringFileBackend::handle_completions() {
  reap();
  flush_submissions();
}

void UringFileBackend::flush_submissions() {
  // A client may submit from a callback: the loop below sees to it.
  if (is_flushing_) return;
  is_flushing_ = true;
  while (io_uring_sq_ready(&ring_) != 0) {
    const bool is_taken = enter();
    if (reap() || is_taken) continue;
    // The kernel is short of something; the next completion or request tries again.
    LOG_WARNING("disk '{}': io_uring takes no requests", file_->path());
    break;
  }
  is_flushing_ = false;
  if (std::exchange(has_completed_, false)) client_->batch_completed();
}

// Takes all completions there are; whether there were any.
bool UringFileBackend::reap() {
  bool has_any = false;
  io_uring_cqe* entry = nullptr;
  while (io_uring_peek_cqe(&ring_, &entry) == 0) {
    auto* transfer = static_cast<FileTransfer*>(io_uring_cqe_get_data(entry));
    const i64 result = entry->res;
    io_uring_cqe_seen(&ring_, entry);
    completed(*transfer, result);
    has_any = true;
  }
  start_waiting();
  return has_any;
}

void UringFileBackend::completed(FileTransfer& transfer, i64 result) {
  std::optional<BlockStatus> status = BlockStatus::kIoError;
  if (!is_abandoning_) status = transfer.advance(result);
  if (!status) {
    if (prepare(transfer)) return;
    // The submission ring is full and the kernel takes nothing.
    status = BlockStatus::kIoError;
  }
  --running_;
  is_exclusive_ = false;
  BlockRequest& request = transfer.request();
  free_.push_back(&transfer);
  if (is_abandoning_) return;
  has_completed_ = true;
  client_->request_completed(request, *status);
}

void UringFileBackend::wait_for_all() {
  while (running_ != 0 || !waiting_.empty()) {
    std::ignore = io_uring_submit_and_wait(&ring_, 1);
    reap();
  }
}

void UringFileBackend::drain() {
  wait_for_all();
  if (std::exchange(has_completed_, false)) client_->batch_completed();
}

// The kernel may write to a read's memory until it completes, and cannot be told to forget a request on a
// file: so this waits, as a real disk's reset does.
void UringFileBackend::abandon() {
  is_abandoning_ = true;
  for (FileTransfer* transfer : waiting_) free_.push_back(transfer);
  waiting_.clear();
  wait_for_all();
  is_abandoning_ = false;
}

}  // namespace doppel
