// Mapping of guest RAM, checked copies, and visiting it as state.
#include "memory/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/verify.h"

namespace doppel {
namespace {

// Memory the host can give: a guest larger than this can never be backed.
u64 host_memory_bytes() {
  return static_cast<u64>(::sysconf(_SC_PHYS_PAGES)) * static_cast<u64>(::sysconf(_SC_PAGESIZE));
}

// What another CPU may see of a plain access: all or nothing of an aligned unit. SDM 3A 8.1.1.
void copy(u8* to, const u8* from, std::size_t size) {
  switch (size) {
    case 1:
      *to = *from;
      return;
    case 2:
      std::memcpy(to, from, 2);
      return;
    case 4:
      std::memcpy(to, from, 4);
      return;
    case 8:
      std::memcpy(to, from, 8);
      return;
    default:
      std::memcpy(to, from, size);
  }
}

bool is_zero(const u8* page) { return page[0] == 0 && std::memcmp(page, page + 1, kPageSize - 1) == 0; }

}  // namespace

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(u64 size) {
  if (size < kMinSize || size % kPageSize != 0) {
    return fail_usage("memory of {} bytes: give at least 1 MiB and a multiple of 4 KiB", size);
  }
  if (size > host_memory_bytes()) {
    return fail_usage("memory of {} MiB: this host has only {} MiB", size / kMiB, host_memory_bytes() / kMiB);
  }
  auto memory = std::unique_ptr<GuestMemory>(new GuestMemory());
  memory->size_ = size;
  memory->memfd_ = UniqueFd(::memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const int fd = memory->memfd_.get();
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0 ||
      ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail("guest memory of {} MiB: {}", size / kMiB, std::strerror(errno));
  }
  const u64 high = memory->high_size();
  memory->reserved_ = high != 0 ? kHighRamStart + high : memory->low_size();
  void* base =
      ::mmap(nullptr, memory->reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return fail("guest memory: reserving address space: {}", std::strerror(errno));
  memory->base_ = static_cast<u8*>(base);
  auto map = [&](u64 guest, u64 length, u64 offset) {
    return length == 0 || ::mmap(memory->base_ + guest, length, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_FIXED, fd, static_cast<off_t>(offset)) != MAP_FAILED;
  };
  if (!map(0, memory->low_size(), 0) || !map(kHighRamStart, high, memory->low_size())) {
    return fail("guest memory: mapping: {}", std::strerror(errno));
  }
  memory->code_frames_ = std::make_unique<CodeFrames>(memory->reserved_ >> kPageShift);
  return memory;
}

GuestMemory::~GuestMemory() {
  if (base_ != nullptr) ::munmap(base_, reserved_);
}

bool GuestMemory::read(GuestPhys address, std::span<u8> out) const {
  if (!is_ram(address, out.size())) return false;
  if (!out.empty()) copy(out.data(), host(address), out.size());
  return true;
}

bool GuestMemory::write(GuestPhys address, std::span<const u8> data, CodeFrames::UserId writer) {
  if (!is_ram(address, data.size())) return false;
  if (data.empty()) return true;
  copy(host(address), data.data(), data.size());
  note_write(address, data.size(), writer);
  return true;
}

void GuestMemory::note_write(GuestPhys address, u64 size, CodeFrames::UserId writer) {
  // The store comes before the look at the mark, as decoding comes after setting it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  while (size != 0) {
    const u64 chunk = std::min(size, kPageSize - address.page_offset());
    if (code_frames_->is_watched(address.page_number(), writer)) {
      code_frames_->written(address.page_number(), address.page_offset(), chunk, writer);
    }
    address = address + chunk;
    size -= chunk;
  }
}

void GuestMemory::discard(GuestPhys address, u64 size) {
  VERIFY(is_ram(address, size) && address.page_offset() == 0 && size % kPageSize == 0);
  if (size == 0) return;
  const int status = ::fallocate(memfd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 static_cast<off_t>(file_offset(address)), static_cast<off_t>(size));
  if (status != 0) std::memset(host(address), 0, size);
  note_write(address, size);
}

void GuestMemory::visit_state(StateVisitor& visitor) {
  visitor.begin("ram");
  u64 size = size_;
  visitor.field("size", size);
  if (size != size_) return visitor.reject("RAM size differs");
  // A run-length list: number of the next non-zero frame, its bytes; ends with the frame count.
  const u64 frames = size_ >> kPageShift;
  auto address_of = [this](u64 frame) {
    const u64 offset = frame << kPageShift;
    return GuestPhys(offset < low_size() ? offset : kHighRamStart + (offset - low_size()));
  };
  for (u64 frame = 0;; ++frame) {
    u64 next = frame;
    if (!visitor.is_loading()) {
      while (next < frames && is_zero(host(address_of(next)))) ++next;
    }
    visitor.field("frame", next);
    if (next < frame || next > frames) return visitor.reject("RAM frame number out of order");
    if (visitor.is_loading()) {
      for (; frame < next; ++frame) {
        if (!is_zero(host(address_of(frame)))) std::memset(host(address_of(frame)), 0, kPageSize);
        note_write(address_of(frame), kPageSize);
      }
    }
    frame = next;
    if (frame == frames) break;
    visitor.bytes("page", {host(address_of(frame)), kPageSize});
    if (visitor.is_loading()) note_write(address_of(frame), kPageSize);
  }
  visitor.end();
}

}  // namespace doppel
