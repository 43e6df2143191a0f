// IovecList: pieces of host memory in order, without allocation while they are few.
#pragma once

#include <sys/uio.h>

#include <array>
#include <span>
#include <vector>

#include "base/types.h"

namespace doppel {

// A list of iovecs; the first kInline live inside. Spans of it are valid until it grows, moves or goes. Owned
// by a DescriptorChain or a request. Note that one preadv() takes at most IOV_MAX pieces; a list may be
// longer.
class IovecList {
 public:
  static constexpr std::size_t kInline = 16;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() {
    size_ = 0;
    more_.clear();
  }

  void push_back(void* base, std::size_t length) {
    if (size_ == kInline) more_.assign(inline_.begin(), inline_.end());
    if (size_ < kInline) {
      inline_[size_] = {base, length};
    } else {
      more_.push_back({base, length});
    }
    ++size_;
  }

  std::span<const iovec> span() const { return {size_ <= kInline ? inline_.data() : more_.data(), size_}; }

 private:
  std::array<iovec, kInline> inline_;  // the first size_ are set
  std::vector<iovec> more_;            // all of them, once there are more than kInline
  std::size_t size_ = 0;
};

}  // namespace doppel
