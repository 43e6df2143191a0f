// Building chains, copying through them, and chains in flight as state.
#include "virtio/descriptor_chain.h"

#include <algorithm>
#include <limits>

#include "virtio/ring_layout.h"

namespace doppel {
namespace {

// One piece in a saved state.
struct SavedPiece {
  u64 address;
  u32 length;
  u32 is_writable;
};
static_assert(sizeof(SavedPiece) == 16);

constexpr std::size_t kMaxPieces = u64{kMaxQueueSize} + 0xffff;

// Calls visit(host, length, done) for each contiguous run of [offset, offset + length); the result is how
// many bytes there were.
template <class Visit>
u64 for_range(std::span<const iovec> parts, u64 offset, u64 length, Visit visit) {
  u64 done = 0;
  for (const iovec& part : parts) {
    if (done == length) break;
    if (offset >= part.iov_len) {
      offset -= part.iov_len;
      continue;
    }
    const u64 chunk = std::min<u64>(part.iov_len - offset, length - done);
    visit(static_cast<u8*>(part.iov_base) + offset, chunk, done);
    done += chunk;
    offset = 0;
  }
  return done;
}

}  // namespace

IovecList slice(std::span<const iovec> parts, u64 offset, u64 length) {
  IovecList result;
  for_range(parts, offset, length, [&](u8* host, u64 chunk, u64) { result.push_back(host, chunk); });
  return result;
}

IovecList DescriptorChain::readable_slice(u64 offset, u64 length) const {
  return slice(readable(), offset, length);
}

IovecList DescriptorChain::writable_slice(u64 offset, u64 length) const {
  return slice(writable(), offset, length);
}

std::size_t DescriptorChain::read(u64 offset, std::span<u8> out) const {
  return for_range(readable(), offset, out.size(),
                   [&](const u8* host, u64 chunk, u64 done) { std::memcpy(out.data() + done, host, chunk); });
}

std::size_t DescriptorChain::write(u64 offset, std::span<const u8> data) const {
  return for_range(writable(), offset, data.size(), [&](u8* host, u64 chunk, u64 done) {
    std::memcpy(host, data.data() + done, chunk);
    memory_->note_write(guest_address(host), chunk);
  });
}

std::size_t DescriptorChain::write_zeroes(u64 offset, u64 length) const {
  return for_range(writable(), offset, length, [&](u8* host, u64 chunk, u64) {
    std::memset(host, 0, chunk);
    memory_->note_write(guest_address(host), chunk);
  });
}

void DescriptorChain::announce_writes(u64 offset, u64 length) const {
  for_range(writable(), offset, length,
            [&](u8* host, u64 chunk, u64) { memory_->note_write(guest_address(host), chunk); });
}

bool DescriptorChain::append(GuestPhys address, u32 length, bool is_writable) {
  if (!is_writable && readable_count_ != parts_.size()) return false;
  if (length == 0) return true;
  if (!memory_->is_ram(address, length)) return false;
  if (readable_size_ + writable_size_ + length > std::numeric_limits<u32>::max()) return false;
  parts_.push_back(memory_->host(address), length);
  if (is_writable) {
    writable_size_ += length;
  } else {
    readable_size_ += length;
    ++readable_count_;
  }
  return true;
}

void DescriptorChain::clear() {
  parts_.clear();
  readable_count_ = 0;
  readable_size_ = 0;
  writable_size_ = 0;
}

void DescriptorChain::visit_state(StateVisitor& visitor, GuestMemory& memory) {
  memory_ = &memory;
  std::vector<u8> saved;
  for (std::size_t i = 0; i < parts_.size() && !visitor.is_loading(); ++i) {
    const iovec& part = parts_.span()[i];
    const SavedPiece piece{guest_address(part.iov_base).value(), static_cast<u32>(part.iov_len),
                           i >= readable_count_ ? 1U : 0U};
    const u8* bytes = reinterpret_cast<const u8*>(&piece);
    saved.insert(saved.end(), bytes, bytes + sizeof(piece));
  }
  visitor.field("id", token_.id);
  visitor.field("slots", token_.slots);
  visitor.blob("pieces", saved, kMaxPieces * sizeof(SavedPiece));
  if (!visitor.is_loading()) return;
  clear();
  bool is_good = saved.size() % sizeof(SavedPiece) == 0 && token_.slots != 0;
  for (std::size_t at = 0; is_good && at < saved.size(); at += sizeof(SavedPiece)) {
    SavedPiece piece;
    std::memcpy(&piece, saved.data() + at, sizeof(piece));
    is_good = append(GuestPhys(piece.address), piece.length, piece.is_writable != 0);
  }
  if (is_good) return;
  clear();
  token_ = {};
  visitor.reject("impossible descriptor chain");
}

}  // namespace doppel
