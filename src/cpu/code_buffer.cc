// Memory for generated code: two mappings of one memfd.
#include "cpu/code_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace doppel {
namespace {

constexpr size_t kPageSize = 4096;
constexpr size_t kCodeAlignment = 16;
constexpr u8 kInt3 = 0xcc;

// MFD_EXEC exists since Linux 6.3; older kernels refuse it and do not need it.
UniqueFd create_code_file() {
  UniqueFd file(::memfd_create("doppel-code", MFD_CLOEXEC | MFD_EXEC));
  if (!file.is_valid() && errno == EINVAL) file = UniqueFd(::memfd_create("doppel-code", MFD_CLOEXEC));
  return file;
}

// Code that was changed through another linear address needs it before it runs. SDM 3A 8.1.3. Not IRET, which
// faults in user code under QEMU 7.2's translator.
void serialize() {
  u32 eax = 0;
  u32 ecx = 0;
  asm volatile("cpuid" : "+a"(eax), "+c"(ecx) : : "ebx", "edx", "memory");
}

}  // namespace

Result<CodeBuffer> CodeBuffer::create(size_t size) {
  size = align_up(size, kPageSize);
  const UniqueFd file = create_code_file();
  if (!file.is_valid()) return fail("cannot create the file for generated code: {}", std::strerror(errno));
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    return fail("cannot size the file for generated code to {} bytes: {}", size, std::strerror(errno));
  }
  void* writable = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (writable == MAP_FAILED) return fail("cannot map generated code for writing: {}", std::strerror(errno));
  void* executable = ::mmap(nullptr, size, PROT_READ | PROT_EXEC, MAP_SHARED, file.get(), 0);
  if (executable == MAP_FAILED) {
    const int error = errno;
    ::munmap(writable, size);
    return fail("cannot map generated code for execution: {} (is /dev/shm or memfd mounted noexec?)",
                std::strerror(error));
  }
  return CodeBuffer(static_cast<u8*>(writable), static_cast<const u8*>(executable), size);
}

CodeBuffer::CodeBuffer(CodeBuffer&& other) noexcept
    : writable_(std::exchange(other.writable_, nullptr)),
      executable_(other.executable_),
      size_(other.size_),
      used_(other.used_) {}

CodeBuffer& CodeBuffer::operator=(CodeBuffer&& other) noexcept {
  if (this != &other) {
    unmap();
    writable_ = std::exchange(other.writable_, nullptr);
    executable_ = other.executable_;
    size_ = other.size_;
    used_ = other.used_;
  }
  return *this;
}

CodeBuffer::~CodeBuffer() { unmap(); }

void CodeBuffer::unmap() {
  if (writable_ == nullptr) return;
  ::munmap(writable_, size_);
  ::munmap(const_cast<u8*>(executable_), size_);
}

const u8* CodeBuffer::append(std::span<const u8> code) {
  const size_t start = align_up(used_, kCodeAlignment);
  if (start > size_ || code.size() > size_ - start) return nullptr;
  std::memset(writable_ + used_, kInt3, start - used_);
  std::memcpy(writable_ + start, code.data(), code.size());
  used_ = start + code.size();
  return executable_ + start;
}

void CodeBuffer::commit(size_t bytes) { used_ += bytes; }

void CodeBuffer::clear() {
  std::memset(writable_, kInt3, used_);
  used_ = 0;
  serialize();
}

}  // namespace doppel
