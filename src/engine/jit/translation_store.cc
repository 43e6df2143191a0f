// The file: a header, the translations' data, their records, and a hash table of the records.
#include "engine/jit/translation_store.h"

#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/log.h"

namespace doppel {

using jit::Block;
using jit::BlockKey;
using jit::Relocation;

namespace {

constexpr std::array<char, 8> kMagic = {'d', 'o', 'p', 'p', 'e', 'l', 'T', 'S'};
constexpr u64 kMultiplier = 0x9e3779b97f4a7c15;
constexpr std::size_t kBufferBytes = kMiB;
// Bytes at a block's beginning by which it is looked for.
constexpr std::size_t kPrefix = 8;

u64 mix(u64 hash, u64 value) {
  hash = (hash ^ value) * kMultiplier;
  return hash ^ hash >> 29;
}

u64 hash_bytes(u64 hash, std::span<const u8> bytes) {
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    u64 word;
    std::memcpy(&word, bytes.data(), 8);
    hash = mix(hash, word);
  }
  u64 rest = bytes.size();
  for (const u8 byte : bytes) rest = rest << 8 | byte;
  return mix(hash, rest);
}

// Of this program: everything its file holds that does not change while it runs.
u64 hash_of_program() {
  u64 hash = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
          const auto& part = info->dlpi_phdr[i];
          if (part.p_type != PT_LOAD || (part.p_flags & PF_W) != 0) continue;
          const auto* start = reinterpret_cast<const u8*>(info->dlpi_addr + part.p_vaddr);
          auto& hash_so_far = *static_cast<u64*>(result);
          hash_so_far = hash_bytes(hash_so_far, {start, part.p_memsz});
        }
        return 1;  // the program itself comes first; no libraries
      },
      &hash);
  return hash;
}

template <class T, std::size_t kCount>
std::span<const u8> bytes_of(std::span<const T, kCount> values) {
  return {reinterpret_cast<const u8*>(values.data()), values.size_bytes()};
}
template <class T>
std::span<const T> array_in(std::span<const u8> bytes, u64 count) {
  return {reinterpret_cast<const T*>(bytes.data()), count};
}

std::string reason() { return std::strerror(errno); }

}  // namespace

struct TranslationStore::Header {
  std::array<char, 8> magic;
  u64 build;
  u64 checksum;  // of everything behind the header
  u64 data_bytes;
  u64 records;
  u64 slots;  // a power of two
};

struct TranslationStore::Record {
  u64 identity;  // hash of variant, place in the page, mode and all guest bytes
  u64 prefix;    // of the same, but the page's first bytes only
  u64 data;      // position of the guest bytes, relocations and code
  u64 rip;
  u16 code_size;
  u16 entry;
  u16 direct;
  u16 island;
  u16 guest_size;
  u16 relocations;
  u8 instructions;
  u8 executed;
  u16 unused;

  // The parts of its data, whose beginning is aligned for relocations.
  u64 relocations_at() const { return align_up(guest_size, alignof(Relocation)); }
  u64 code_at() const { return relocations_at() + relocations * sizeof(Relocation); }
  u64 data_bytes() const { return align_up(code_at() + code_size, alignof(Relocation)); }
};

struct TranslationStore::Slot {
  u32 record;  // its number and 1; 0: none
};

namespace {

u64 hash_of_place(u64 variant, const BlockKey& key) {
  return mix(mix(variant, key.rip & kPageOffsetMask), key.mode | (key.is_32bit ? 0x100u : 0u));
}
// `page`: from the block's first byte to the end of its page.
u64 prefix_of(u64 variant, const BlockKey& key, std::span<const u8> page) {
  return hash_bytes(hash_of_place(variant, key), page.first(std::min(page.size(), kPrefix)));
}

}  // namespace

u64 jit::variant_of(const TranslationOptions& options, const Thunks& thunks, const u8* code) {
  static_assert(std::has_unique_object_representations_v<x86::FeatureSet>);
  u64 hash = hash_bytes(0, bytes_of(std::span(&options.features, 1)));
  hash = mix(hash, options.instructions << 1 | (options.counts ? 1 : 0));
  for (const u8* thunk : {thunks.leave_to_look, thunks.leave_to_interpret, thunks.leave_for_budget,
                          thunks.miss, thunks.find, thunks.tsc, thunks.far_user, thunks.load_vectors[0],
                          thunks.load_vectors[1], thunks.load_vectors[2]}) {
    hash = mix(hash, static_cast<u64>(thunk - code));
  }
  return hash;
}

TranslationStore::TranslationStore(std::string path, u64 most_bytes)
    : path_(std::move(path)), most_bytes_(most_bytes), build_(hash_of_program()) {}

Result<std::shared_ptr<TranslationStore>> TranslationStore::open(const std::string& path, u64 most_bytes) {
  std::shared_ptr<TranslationStore> store(new TranslationStore(path, most_bytes));
  TRY_VOID(store->load());
  return store;
}

TranslationStore::~TranslationStore() {
  if (!added_.empty() && !has_failed_) {
    if (const Result<void> saved = save(); !saved) LOG_WARNING("{}", saved.error().message);
  }
  if (!new_path_.empty()) ::unlink(new_path_.c_str());
  if (!file_.empty()) ::munmap(const_cast<u8*>(file_.data()), file_.size());
}

Result<void> TranslationStore::load() {
  const UniqueFd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.is_valid()) {
    if (errno != ENOENT) return fail("translation cache '{}': {}", path_, reason());
    const std::string folder = path_.substr(0, path_.rfind('/') + 1);
    if (::access(folder.empty() ? "." : folder.c_str(), W_OK) == 0) return {};
    return fail("translation cache '{}': {}", path_, reason());
  }
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return fail("translation cache '{}': {}", path_, reason());
  if (!S_ISREG(status.st_mode)) return fail("translation cache '{}': it is no file", path_);
  if (status.st_uid != ::geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail("translation cache '{}': others may write it; it must be this user's alone (chmod go-w)",
                path_);
  }
  const auto size = static_cast<u64>(status.st_size);
  if (size < sizeof(Header)) return {};
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file.get(), 0);
  if (mapped == MAP_FAILED) return fail("translation cache '{}': {}", path_, reason());
  file_ = {static_cast<const u8*>(mapped), size};
  if (!is_intact()) {
    LOG_INFO("translation cache '{}': of another build, or damaged; it begins anew", path_);
    return {};
  }
  const auto& header = *reinterpret_cast<const Header*>(file_.data());
  data_ = file_.subspan(sizeof(Header), header.data_bytes);
  records_ = array_in<Record>(file_.subspan(sizeof(Header) + header.data_bytes), header.records);
  slots_ = array_in<Slot>(file_.last(header.slots * sizeof(Slot)), header.slots);
  return {};
}

bool TranslationStore::is_intact() const {
  Header header;
  std::memcpy(&header, file_.data(), sizeof(header));
  if (header.magic != kMagic || header.build != build_ || !std::has_single_bit(header.slots)) return false;
  // Each below 2^40, so that sums do not overflow.
  for (const u64 value : {header.data_bytes, header.records, header.slots}) {
    if (value >> 40 != 0) return false;
  }
  const u64 size =
      sizeof(Header) + header.data_bytes + header.records * sizeof(Record) + header.slots * sizeof(Slot);
  if (size != file_.size() || header.data_bytes % alignof(Record) != 0) return false;
  return hash_bytes(0, file_.subspan(sizeof(Header))) == header.checksum;
}

std::optional<TranslationStore::Stored> TranslationStore::find(u64 variant, const BlockKey& key,
                                                               std::span<const u8> page) const {
  if (slots_.empty()) return std::nullopt;
  const u64 prefix = prefix_of(variant, key, page);
  const u64 mask = slots_.size() - 1;
  for (u64 at = prefix & mask; slots_[at].record != 0 && slots_[at].record <= records_.size();
       at = (at + 1) & mask) {
    const Record& record = records_[slots_[at].record - 1];
    if (record.prefix != prefix || record.guest_size > page.size()) continue;
    if (record.data > data_.size() || record.data_bytes() > data_.size() - record.data) continue;
    const std::span<const u8> data = data_.subspan(record.data, record.data_bytes());
    if (std::memcmp(data.data(), page.data(), record.guest_size) != 0) continue;
    Stored stored;
    stored.block.key = key;
    stored.block.key.rip = record.rip;
    stored.block.is_copyable = true;
    stored.block.entry = record.entry;
    stored.block.direct = record.direct;
    stored.block.island = record.island;
    stored.block.size = record.code_size;
    stored.block.bytes = record.guest_size;
    stored.block.instructions = record.instructions;
    stored.block.executed = record.executed;
    stored.relocations = array_in<Relocation>(data.subspan(record.relocations_at()), record.relocations);
    stored.code = data.subspan(record.code_at(), record.code_size);
    return stored;
  }
  return std::nullopt;
}

void TranslationStore::add(u64 variant, const Stored& stored, std::span<const u8> page) {
  const Block& block = stored.block;
  const std::span<const u8> guest = page.first(block.bytes);
  const std::lock_guard lock(mutex_);
  if (has_failed_) return;
  const u64 identity = hash_bytes(hash_of_place(variant, block.key), guest);
  if (!known_.insert(identity).second) return;
  Record record{.identity = identity,
                .prefix = prefix_of(variant, block.key, page),
                .data = data_.size() + new_data_bytes_,
                .rip = block.key.rip,
                .code_size = block.size,
                .entry = block.entry,
                .direct = block.direct,
                .island = block.island,
                .guest_size = block.bytes,
                .relocations = static_cast<u16>(stored.relocations.size()),
                .instructions = block.instructions,
                .executed = block.executed,
                .unused = 0};
  if (record.data + record.data_bytes() > most_bytes_) return;
  std::vector<u8> data(record.data_bytes());
  std::ranges::copy(guest, data.begin());
  std::ranges::copy(bytes_of(stored.relocations), data.begin() + static_cast<i64>(record.relocations_at()));
  std::ranges::copy(stored.code, data.begin() + static_cast<i64>(record.code_at()));
  if (const Result<void> written = append(data); !written) {
    LOG_WARNING("{}", written.error().message);
    has_failed_ = true;
    return;
  }
  new_data_bytes_ += data.size();
  added_.push_back(record);
}

// A file that nobody sees yet, with the old one's data.
Result<void> TranslationStore::begin_file() {
  new_path_ = path_ + ".XXXXXX";
  new_file_ = UniqueFd(::mkostemp(new_path_.data(), O_CLOEXEC));
  if (!new_file_.is_valid()) {
    new_path_.clear();
    return fail("translation cache '{}': {}", path_, reason());
  }
  const Header header = {};
  TRY_VOID(append(bytes_of(std::span(&header, 1))));
  return append(data_);
}

Result<void> TranslationStore::append(std::span<const u8> bytes) {
  if (!new_file_.is_valid()) TRY_VOID(begin_file());
  if (buffer_.size() + bytes.size() > kBufferBytes) TRY_VOID(flush());
  if (bytes.size() > kBufferBytes) return write(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> TranslationStore::flush() {
  TRY_VOID(write(buffer_));
  buffer_.clear();
  return {};
}

Result<void> TranslationStore::write(std::span<const u8> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(new_file_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail("translation cache '{}': {}", new_path_, reason());
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<void> TranslationStore::save() {
  std::vector<Record> records(records_.begin(), records_.end());
  records.insert(records.end(), added_.begin(), added_.end());
  // At most half full.
  std::vector<Slot> slots(std::bit_ceil(records.size() * 2));
  const u64 mask = slots.size() - 1;
  for (std::size_t i = 0; i < records.size(); ++i) {
    u64 at = records[i].prefix & mask;
    while (slots[at].record != 0) at = (at + 1) & mask;
    slots[at].record = static_cast<u32>(i + 1);
  }
  const u64 data_bytes = align_up(data_.size() + new_data_bytes_, alignof(Record));
  TRY_VOID(append(std::vector<u8>(data_bytes - data_.size() - new_data_bytes_)));
  TRY_VOID(append(bytes_of(std::span<const Record>(records))));
  TRY_VOID(append(bytes_of(std::span<const Slot>(slots))));
  TRY_VOID(flush());
  const u64 size =
      sizeof(Header) + data_bytes + records.size() * sizeof(Record) + slots.size() * sizeof(Slot);
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, new_file_.get(), 0);
  if (mapped == MAP_FAILED) return fail("translation cache '{}': {}", new_path_, reason());
  const Header header{
      .magic = kMagic,
      .build = build_,
      .checksum = hash_bytes(0, std::span(static_cast<const u8*>(mapped), size).subspan(sizeof(Header))),
      .data_bytes = data_bytes,
      .records = records.size(),
      .slots = slots.size()};
  ::munmap(mapped, size);
  if (::pwrite(new_file_.get(), &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header)) ||
      ::rename(new_path_.c_str(), path_.c_str()) != 0) {
    return fail("translation cache '{}': {}", path_, reason());
  }
  new_path_.clear();
  return {};
}

}  // namespace doppel
