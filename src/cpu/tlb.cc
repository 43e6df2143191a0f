// Maintenance of the software TLB: what it costs is what was entered, not the size of the tables.
#include "cpu/tlb.h"

namespace doppel {
namespace {

bool is_empty(const TlbSide& side, unsigned index) { return side.tags[index] == TlbSide::empty_tag(index); }

}  // namespace

TlbTable::TlbTable() {
  for (unsigned i = 0; i < kTlbEntries; ++i) {
    read.drop(i);
    write.drop(i);
    read.addends[i] = write.addends[i] = 0;
  }
}

template <class F>
void TlbTable::each_used(F f) {
  if (used_count_ > kTlbEntries) {
    for (unsigned i = 0; i < kTlbEntries; ++i) f(i);
  } else {
    for (unsigned i = 0; i < used_count_; ++i) f(used_[i]);
  }
}

void TlbTable::enter(u64 page, u64 addend, bool is_writable, bool is_large) {
  const unsigned index = tlb_index(page);
  if (is_empty(read, index) && is_empty(write, index) && used_count_ <= kTlbEntries) {
    if (used_count_ < kTlbEntries) used_[used_count_] = static_cast<u16>(index);
    ++used_count_;
  }
  read.set(page, addend);
  if (is_writable) {
    write.set(page, addend);
  } else if (write.tags[index] == ~page + 1) {
    write.drop(index);
  }
  if (is_large) large_regions_ |= u64{1} << ((page >> 30) & 63);
}

void TlbTable::clear() {
  each_used([&](unsigned index) {
    read.drop(index);
    write.drop(index);
  });
  used_count_ = 0;
  large_regions_ = 0;
}

void TlbTable::drop_page(u64 va) {
  if (bit(large_regions_, (va >> 30) & 63)) return clear();
  const unsigned index = tlb_index(va);
  const u64 tag = ~(va & ~kPageOffsetMask) + 1;
  if (read.tags[index] == tag) read.drop(index);
  if (write.tags[index] == tag) write.drop(index);
}

void TlbTable::drop_writes_to(u64 host) {
  each_used([&](unsigned index) {
    if (write.addends[index] - write.tags[index] == host) write.drop(index);
  });
}

void TlbTable::drop_writes() {
  each_used([&](unsigned index) { write.drop(index); });
}

}  // namespace doppel
