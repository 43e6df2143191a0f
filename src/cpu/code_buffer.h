// CodeBuffer: bounded memory for generated host code, written through one mapping and run through another.
#pragma once

#include <span>

#include "base/result.h"
#include "base/types.h"

namespace doppel {

// One anonymous file mapped twice: read-write for the generator, read-execute for the processor; no mapping
// is ever both. Owned by the generator of one vCPU and used on that vCPU's thread only. Code is appended
// until the buffer is full, then everything is dropped at once.
class CodeBuffer {
 public:
  // `size` in bytes; rounded up to whole pages.
  static Result<CodeBuffer> create(size_t size);

  CodeBuffer(CodeBuffer&& other) noexcept;
  CodeBuffer& operator=(CodeBuffer&& other) noexcept;
  CodeBuffer(const CodeBuffer&) = delete;
  CodeBuffer& operator=(const CodeBuffer&) = delete;
  ~CodeBuffer();

  // Copies `code` into the buffer, 16-byte aligned. Returns its executable address, nullptr when it does not
  // fit.
  const u8* append(std::span<const u8> code);

  // For code that is written in place: the room left, and where it will run; commit() keeps what was written
  // at its beginning. Changing code that may be executed is up to the caller.
  std::span<u8> room() { return {writable_ + used_, size_ - used_}; }
  u8* writable(size_t position) { return writable_ + position; }
  const u8* executable(size_t position) const { return executable_ + position; }
  void commit(size_t bytes);

  // Drops all code. No address returned by append() may be run afterwards.
  void clear();

  size_t size() const { return size_; }
  size_t used() const { return used_; }

 private:
  CodeBuffer(u8* writable, const u8* executable, size_t size)
      : writable_(writable), executable_(executable), size_(size) {}
  void unmap();

  u8* writable_;
  const u8* executable_;
  size_t size_;
  size_t used_ = 0;
};

}  // namespace doppel
