// Maintenance of the software TLB: what it costs is what was entered, not the size of the tables.
#include "cpu/tlb.h"

namespace doppel {
namespace {

bool is_empty(const TlbSide& side, unsigned index) { return side.tags[index] == TlbSide::empty_tag(index); }

template <class F>
void each_used(const TlbTable& table, F f) {
  if (table.used_count > kTlbEntries) {
    for (unsigned i = 0; i < kTlbEntries; ++i) f(i);
  } else {
    for (unsigned i = 0; i < table.used_count; ++i) f(table.used[i]);
  }
}

}  // namespace

TlbTable::TlbTable() {
  for (unsigned i = 0; i < kTlbEntries; ++i) {
    read.drop(i);
    write.drop(i);
    read.addends[i] = write.addends[i] = 0;
  }
}

void TlbTable::enter(u64 page, u64 addend, bool is_writable, bool is_large) {
  const unsigned index = tlb_index(page);
  if (is_empty(read, index) && is_empty(write, index) && used_count <= kTlbEntries) {
    if (used_count < kTlbEntries) used[used_count] = static_cast<u16>(index);
    ++used_count;
  }
  read.set(page, addend);
  if (is_writable) {
    write.set(page, addend);
  } else if (write.tags[index] == ~page + 1) {
    write.drop(index);
  }
  if (is_large) large_regions |= u64{1} << ((page >> 30) & 63);
}

void TlbTable::clear() {
  each_used(*this, [&](unsigned index) {
    read.drop(index);
    write.drop(index);
  });
  used_count = 0;
  large_regions = 0;
}

void TlbTable::drop_page(u64 va) {
  if (bit(large_regions, (va >> 30) & 63)) return clear();
  const unsigned index = tlb_index(va);
  const u64 tag = ~(va & ~kPageOffsetMask) + 1;
  if (read.tags[index] == tag) read.drop(index);
  if (write.tags[index] == tag) write.drop(index);
}

void TlbTable::drop_writes_to(u64 host) {
  each_used(*this, [&](unsigned index) {
    if (write.addends[index] - write.tags[index] == host) write.drop(index);
  });
}

void TlbTable::drop_writes() {
  each_used(*this, [&](unsigned index) { write.drop(index); });
}

}  // namespace doppel
