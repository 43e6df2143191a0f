// Accesses to linear memory by any path that is not an engine's own fast one.
#include <algorithm>

#include "base/verify.h"
#include "cpu/core.h"

namespace doppel {
namespace {

// One page's part of an access.
struct Piece {
  GuestPhys physical;
  unsigned size = 0;
};

}  // namespace

bool Core::access_linear(u64 va, void* buffer, unsigned size, Access access, AccessMode mode) {
  VERIFY(size <= kPageSize);
  if (data_watch != nullptr) [[unlikely]] {
    const u64 start = is_long_mode ? va : va & 0xffffffff;
    const DataWatch::Access kind = access != Access::kWrite ? DataWatch::Access::kRead
                                   : buffer == nullptr      ? DataWatch::Access::kProbe
                                                            : DataWatch::Access::kWrite;
    if (!data_watch->note(GuestVirt(start), size, kind)) return false;
  }
  Piece pieces[2];
  unsigned count = 0;
  for (unsigned done = 0; done < size; ++count) {
    const u64 raw = va + done;
    const u64 address = is_64bit || is_long_mode ? raw : raw & 0xffffffff;
    if (is_long_mode && !is_canonical(address)) return raise(x86::kVectorGp, 0);
    const TlbTable& table = mmu.table(mode);
    Piece& piece = pieces[count];
    if (const u8* host = (access == Access::kWrite ? table.write : table.read).find(address, 1)) {
      piece.physical = mmu.physical(host);
    } else {
      const Translation translation = mmu.fill(GuestVirt(address), access, mode);
      if (!translation.is_valid) return raise_page_fault(GuestVirt(address), translation.error_code);
      piece.physical = translation.physical;
    }
    piece.size = std::min(size - done, static_cast<unsigned>(kPageSize - (address & kPageOffsetMask)));
    done += piece.size;
  }
  if (observer != nullptr) [[unlikely]] {
    const bool is_write = access == Access::kWrite;
    for (unsigned i = 0; i < count; ++i) {
      if (!observer->may_access(pieces[i].physical, pieces[i].size, is_write)) return false;
    }
  }
  if (buffer == nullptr) return true;
  auto* bytes = static_cast<u8*>(buffer);
  for (unsigned i = 0; i < count; ++i) {
    const Piece& piece = pieces[i];
    if (memory.is_ram(piece.physical, piece.size)) {
      if (access == Access::kWrite) {
        memory.write(piece.physical, {bytes, piece.size}, mmu.code_user());
      } else {
        memory.read(piece.physical, {bytes, piece.size});
      }
    } else {
      // Devices see at most 8 bytes at a time.
      for (unsigned done = 0; done < piece.size; done += 8) {
        const std::span<u8> part(bytes + done, std::min(8u, piece.size - done));
        if (access == Access::kWrite) {
          platform.write_mmio(piece.physical + done, part);
        } else {
          platform.read_mmio(piece.physical + done, part);
        }
      }
    }
    bytes += piece.size;
  }
  if ((state.dr7 & 0xff) != 0) note_data_access(va, size, access == Access::kWrite);
  return true;
}

bool Core::read_linear(u64 va, void* out, unsigned size, AccessMode mode) {
  return access_linear(va, out, size, Access::kRead, mode);
}

bool Core::write_linear(u64 va, const void* data, unsigned size, AccessMode mode) {
  return access_linear(va, const_cast<void*>(data), size, Access::kWrite, mode);
}

bool Core::probe_write(u64 va, unsigned size, AccessMode mode) {
  return access_linear(va, nullptr, size, Access::kWrite, mode);
}

}  // namespace doppel
