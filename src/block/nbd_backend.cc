// Splitting requests into NBD commands and following libnbd's connection.
#include "block/nbd_backend.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

namespace doppel {
namespace {

constexpr int kForever = -1;
constexpr int kGoodbyeMilliseconds = 500;
// Trim and zero carry no data.
constexpr u64 kMaxRange = kGiB;

bool has_data(BlockOperation operation) {
  return operation == BlockOperation::kRead || operation == BlockOperation::kWrite;
}

// Copies `bytes` to or from the request's memory at `offset`.
void copy_memory(std::span<const iovec> memory, u64 offset, std::span<u8> bytes, bool to_memory) {
  for (const iovec& piece : memory) {
    if (bytes.empty()) return;
    if (offset >= piece.iov_len) {
      offset -= piece.iov_len;
      continue;
    }
    const u64 count = std::min<u64>(piece.iov_len - offset, bytes.size());
    u8* place = static_cast<u8*>(piece.iov_base) + offset;
    std::memcpy(to_memory ? place : bytes.data(), to_memory ? bytes.data() : place, count);
    bytes = bytes.subspan(count);
    offset = 0;
  }
}

}  // namespace

Result<std::unique_ptr<NbdBackend>> NbdBackend::create(const std::string& uri, bool is_read_only,
                                                       EventLoop* loop) {
  auto backend = std::unique_ptr<NbdBackend>(new NbdBackend(uri));
  TRY_VOID(backend->connect());
  TRY_VOID(backend->ask_server(is_read_only));
  backend->chunks_.resize(kChunks);
  for (Chunk& chunk : backend->chunks_) chunk.owner = backend.get();
  if (loop != nullptr) {
    backend->loop_ = loop;
    loop->add(*backend);
  }
  return backend;
}

NbdBackend::~NbdBackend() {
  if (loop_ != nullptr) loop_->remove(*this);
  if (nbd_ == nullptr) return;
  abandon();
  // Says goodbye, but does not wait long for a server that is busy or stuck.
  if (nbd_aio_is_ready(nbd_) == 1 && nbd_aio_disconnect(nbd_, 0) == 0) {
    std::ignore = nbd_poll(nbd_, kGoodbyeMilliseconds);
  }
  nbd_close(nbd_);
}

std::unexpected<Error> NbdBackend::last_error() const {
  const char* why = nbd_get_error();
  std::string_view text = why == nullptr ? "unknown error" : why;
  // libnbd puts its function's name first.
  if (const std::size_t colon = text.find(": ");
      text.starts_with("nbd_") && colon != std::string_view::npos) {
    text.remove_prefix(colon + 2);
  }
  std::string line(text);
  std::ranges::replace_if(line, [](char c) { return c < ' ' || c > '~'; }, ' ');
  return fail("disk '{}': {}", uri_, line);
}

Result<void> NbdBackend::connect() {
  nbd_ = nbd_create();
  if (nbd_ == nullptr || nbd_connect_uri(nbd_, uri_.c_str()) != 0) return last_error();
  return {};
}

Result<void> NbdBackend::ask_server(bool is_read_only) {
  const i64 size = nbd_get_size(nbd_);
  if (size < 0) return last_error();
  if (size == 0 || static_cast<u64>(size) % kSectorSize != 0) {
    return fail("disk '{}': {} bytes are not a multiple of {}", uri_, size, kSectorSize);
  }
  if (!is_read_only && nbd_is_read_only(nbd_) == 1) {
    return fail("disk '{}': the server offers it for reading only; use readonly=on", uri_);
  }
  limits_.size = static_cast<u64>(size);
  limits_.is_read_only = is_read_only;
  limits_.can_discard = !is_read_only && nbd_can_trim(nbd_) == 1;
  limits_.can_write_zeroes = !is_read_only && nbd_can_zero(nbd_) == 1;
  // A server may insist on a smallest unit, and prefer another.
  auto block_size = [this](int kind) {
    const i64 value = nbd_get_block_size(nbd_, kind);
    const bool is_usable = value >= i64{kSectorSize} && value <= i64{64 * kKiB} && (value & (value - 1)) == 0;
    return is_usable ? static_cast<u32>(value) : static_cast<u32>(kSectorSize);
  };
  limits_.block_size = block_size(LIBNBD_SIZE_MINIMUM);
  if (limits_.size % limits_.block_size != 0) {
    return fail("disk '{}': its size is not a multiple of the server's blocks of {} bytes", uri_,
                limits_.block_size);
  }
  limits_.physical_block_size = std::max(limits_.block_size, block_size(LIBNBD_SIZE_PREFERRED));
  return {};
}

void NbdBackend::submit(BlockRequest& request) {
  jobs_.push_back(std::make_unique<Job>());
  jobs_.back()->request = &request;
  if (loop_ == nullptr) wait_for_all();
}

void NbdBackend::flush_submissions() {
  advance_jobs();
  if (loop_ != nullptr && wanted_events() != polled_events_) loop_->wake();
  if (std::exchange(has_completed_, false)) client_->batch_completed();
}

bool NbdBackend::has_more(const Job& job) const {
  if (job.error != 0) return false;
  if (job.request->operation == BlockOperation::kFlush) return !job.is_started;
  return job.issued < job.request->length;
}

NbdBackend::Chunk* NbdBackend::free_chunk() {
  const auto chunk = std::ranges::find(chunks_, false, &Chunk::is_running);
  return chunk == chunks_.end() ? nullptr : &*chunk;
}

// As many commands as there are places for.
void NbdBackend::issue_all() {
  for (const auto& job : jobs_) {
    while (has_more(*job)) {
      Chunk* chunk = free_chunk();
      if (chunk == nullptr) return;
      issue_next(*job, *chunk);
    }
  }
}

void NbdBackend::issue_next(Job& job, Chunk& chunk) {
  const BlockRequest& request = *job.request;
  chunk.job = &job;
  chunk.offset = job.issued;
  chunk.length = std::min(request.length - job.issued, has_data(request.operation) ? kChunkSize : kMaxRange);
  chunk.is_running = true;
  job.is_started = true;
  job.issued += chunk.length;
  ++job.outstanding;
  // On failure libnbd calls no completion.
  if (issue(request, chunk) < 0) {
    const int error = nbd_get_errno();
    command_completed(chunk, error != 0 ? error : EIO);
  }
}

i64 NbdBackend::issue(const BlockRequest& request, Chunk& chunk) {
  const nbd_completion_callback done = {.callback =
                                            [](void* data, int* error) {
                                              auto* completed = static_cast<Chunk*>(data);
                                              completed->owner->command_completed(*completed, *error);
                                              return 1;  // libnbd forgets the command
                                            },
                                        .user_data = &chunk,
                                        .free = nullptr};
  const u64 offset = request.offset + chunk.offset;
  switch (request.operation) {
    case BlockOperation::kRead:
      chunk.buffer.resize(kChunkSize);
      return nbd_aio_pread(nbd_, chunk.buffer.data(), chunk.length, offset, done, 0);
    case BlockOperation::kWrite:
      chunk.buffer.resize(kChunkSize);
      copy_memory(request.memory, chunk.offset, std::span(chunk.buffer).first(chunk.length), false);
      copied_ += chunk.length;
      return nbd_aio_pwrite(nbd_, chunk.buffer.data(), chunk.length, offset, done, 0);
    case BlockOperation::kFlush:
      // A server without flush keeps nothing back.
      if (nbd_can_flush(nbd_) != 1) break;
      return nbd_aio_flush(nbd_, done, 0);
    case BlockOperation::kDiscard:
      return nbd_aio_trim(nbd_, chunk.length, offset, done, 0);
    case BlockOperation::kWriteZeroes:
      return nbd_aio_zero(nbd_, chunk.length, offset, done, request.may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE);
  }
  command_completed(chunk, nbd_aio_is_dead(nbd_) == 1 ? EIO : 0);
  return 0;
}

// Called by libnbd with its lock held, so nothing here may ask it anything; or for a command it did not take.
// Requests end later, in finish_jobs().
void NbdBackend::command_completed(Chunk& chunk, int error) {
  chunk.is_running = false;
  Job* job = std::exchange(chunk.job, nullptr);
  if (job == nullptr) return;
  --job->outstanding;
  if (error != 0) {
    if (job->error == 0) job->error = error;
  } else if (job->request->operation == BlockOperation::kRead) {
    copy_memory(job->request->memory, chunk.offset, std::span(chunk.buffer).first(chunk.length), true);
    copied_ += chunk.length;
  }
}

void NbdBackend::log_failure(const Job& job) {
  if (has_lost_server_) return;
  if (nbd_aio_is_dead(nbd_) == 1 || nbd_aio_is_closed(nbd_) == 1) {
    has_lost_server_ = true;
    LOG_WARNING("disk '{}': the server is gone; every request fails from now on", uri_);
  } else if (errors_.admit()) {
    LOG_WARNING("disk '{}': {} bytes at {}: {}", uri_, job.request->length, job.request->offset,
                std::strerror(job.error));
  }
}

// A client that hears of a request's end may submit another.
void NbdBackend::advance_jobs() {
  do {
    issue_all();
  } while (finish_jobs());
}

// Completes the jobs that are over; whether there were any.
bool NbdBackend::finish_jobs() {
  bool has_any = false;
  for (std::size_t i = 0; i < jobs_.size();) {
    if (jobs_[i]->outstanding != 0 || has_more(*jobs_[i])) {
      ++i;
      continue;
    }
    const std::unique_ptr<Job> job = std::move(jobs_[i]);
    jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
    has_completed_ = true;
    has_any = true;
    if (job->error != 0) log_failure(*job);
    client_->request_completed(*job->request, job->error == 0 ? BlockStatus::kOk : BlockStatus::kIoError);
  }
  return has_any;
}

// A connection that ended has failed its commands, so this ends as well.
void NbdBackend::wait_for_all() {
  advance_jobs();
  while (!jobs_.empty()) {
    std::ignore = nbd_poll(nbd_, kForever);
    advance_jobs();
  }
}

void NbdBackend::drain() {
  wait_for_all();
  if (std::exchange(has_completed_, false)) client_->batch_completed();
}

// Commands that run go on in buffers of their own.
void NbdBackend::abandon() {
  for (Chunk& chunk : chunks_) chunk.job = nullptr;
  jobs_.clear();
  has_completed_ = false;
}

short NbdBackend::wanted_events() const {
  const unsigned direction = nbd_aio_get_direction(nbd_);
  short events = 0;
  if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) events |= POLLIN;
  if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) events |= POLLOUT;
  return events;
}

int NbdBackend::prepare(std::vector<pollfd>& waits) {
  polled_events_ = wanted_events();
  const int fd = nbd_aio_get_fd(nbd_);
  // A dead connection's descriptor would report its end for ever.
  if (fd >= 0 && polled_events_ != 0) waits.push_back({fd, polled_events_, 0});
  return -1;
}

void NbdBackend::dispatch(std::span<const pollfd> waits) {
  if (waits.empty() || waits[0].revents == 0) return;
  const short events = waits[0].revents;
  // Another thread may have moved the connection on since poll(2) looked.
  const short wanted = wanted_events();
  if ((wanted & POLLIN) != 0 && (events & (POLLIN | POLLHUP | POLLERR)) != 0) {
    std::ignore = nbd_aio_notify_read(nbd_);
  } else if ((wanted & POLLOUT) != 0 && (events & (POLLOUT | POLLHUP | POLLERR)) != 0) {
    std::ignore = nbd_aio_notify_write(nbd_);
  }
  flush_submissions();
}

}  // namespace doppel
