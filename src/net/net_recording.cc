// The recording's format: little-endian, a start and then records. docs/design/network.md has the tables.
#include "net/net_recording.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/instruction_inputs.h"
#include "base/log.h"
#include "state/state_digest.h"

namespace doppel {
namespace {

constexpr std::array<u8, 8> kMagic = {'D', 'P', 'L', 'N', 'E', 'T', 'R', 'C'};
constexpr u32 kVersion = 1;
constexpr u32 kAllOffloads = 0x1f;

enum Kind : u8 { kFrame = 1, kLink = 2, kSent = 3, kEnd = 4 };

struct FileStart {
  std::array<u8, 8> magic;
  u32 version;
  u32 from_guest;
  u32 to_guest;
  u16 mtu;
  u8 is_link_up;
  u8 zero[9];
};
static_assert(sizeof(FileStart) == 32);

struct RecordStart {
  u64 time;  // machine time in nanoseconds
  u32 size;  // of what follows
  u8 kind;
  u8 zero[3];
};
static_assert(sizeof(RecordStart) == 16);

template <class T>
std::span<const u8> bytes_of(const T& value) {
  return {reinterpret_cast<const u8*>(&value), sizeof(value)};
}

template <class T>
T value_at(std::span<const u8> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

u32 bits_of(const NetOffloads& offloads) {
  return u32{offloads.checksum} | u32{offloads.tso4} << 1 | u32{offloads.tso6} << 2 | u32{offloads.ufo} << 3 |
         u32{offloads.uso} << 4;
}

NetOffloads offloads_of(u32 bits) {
  return {.checksum = (bits & 1) != 0,
          .tso4 = (bits & 2) != 0,
          .tso6 = (bits & 4) != 0,
          .ufo = (bits & 8) != 0,
          .uso = (bits & 16) != 0};
}

}  // namespace

u64 chain_frame(u64 chain, const NetHeader& header, std::span<u8> frame) {
  StateHasher hasher;
  NetHeader copy = header;
  hasher.field("chain", chain);
  hasher.bytes("header", {reinterpret_cast<u8*>(&copy), sizeof(copy)});
  hasher.bytes("frame", frame);
  return hasher.digest();
}

Result<NetRecording> NetRecording::open(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) return fail("recording '{}': {}", path, std::strerror(errno));
  std::vector<u8> bytes;
  std::array<u8, 64 * 1024> part;
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), file.get())) {
    if (bytes.size() + got > kMaxFileSize) return fail("recording '{}': larger than 1 GiB", path);
    bytes.insert(bytes.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(got));
  }
  if (std::ferror(file.get()) != 0) return fail("recording '{}': {}", path, std::strerror(errno));
  return parse(path, std::move(bytes));
}

Result<NetRecording> NetRecording::parse(const std::string& name, std::vector<u8> bytes) {
  NetRecording recording;
  recording.bytes_ = std::move(bytes);
  TRY_VOID(recording.parse_start(name));
  std::size_t at = sizeof(FileStart);
  while (at != recording.bytes_.size()) TRY_VOID(recording.parse_record(name, at));
  return recording;
}

Result<void> NetRecording::parse_start(const std::string& name) {
  if (bytes_.size() < sizeof(FileStart) || !std::equal(kMagic.begin(), kMagic.end(), bytes_.begin())) {
    return fail("recording '{}': this is no recording of a network", name);
  }
  const auto start = value_at<FileStart>(bytes_, 0);
  if (start.version != kVersion) {
    return fail("recording '{}': version {}; this program reads version {}", name, start.version, kVersion);
  }
  const bool is_good = ((start.from_guest | start.to_guest) & ~kAllOffloads) == 0 && start.is_link_up <= 1 &&
                       std::ranges::all_of(start.zero, [](u8 byte) { return byte == 0; });
  if (!is_good) return fail("recording '{}': impossible values at its start", name);
  start_.limits.from_guest = offloads_of(start.from_guest);
  start_.limits.to_guest = offloads_of(start.to_guest);
  start_.limits.mtu = start.mtu;
  start_.is_link_up = start.is_link_up != 0;
  return {};
}

Result<void> NetRecording::parse_record(const std::string& name, std::size_t& at) {
  const std::size_t left = bytes_.size() - at;
  if (left < sizeof(RecordStart)) return fail("recording '{}': cut off at byte {}", name, at);
  const auto record = value_at<RecordStart>(bytes_, at);
  if (record.size > left - sizeof(RecordStart)) return fail("recording '{}': cut off at byte {}", name, at);
  const auto time = Nanoseconds(static_cast<i64>(record.time));
  const bool is_good = record.time <= static_cast<u64>(InstructionInputs::kLatest.count()) && time >= last_ &&
                       end_ == Nanoseconds::max() && record.zero[0] == 0 && record.zero[1] == 0 &&
                       record.zero[2] == 0 && take(time, record.kind, at + sizeof(RecordStart), record.size);
  if (!is_good) return fail("recording '{}': impossible record at byte {}", name, at);
  last_ = time;
  at += sizeof(RecordStart) + record.size;
  return {};
}

bool NetRecording::take(Nanoseconds time, u8 kind, std::size_t at, std::size_t size) {
  switch (kind) {
    case kFrame: {
      if (size < sizeof(NetHeader) + kEthernetHeaderSize || size > sizeof(NetHeader) + kMaxFrameSize)
        return false;
      inputs_.push_back({.time = time,
                         .header = value_at<NetHeader>(bytes_, at),
                         .offset = at + sizeof(NetHeader),
                         .size = size - sizeof(NetHeader)});
      return true;
    }
    case kLink:
      if (size != 1 || bytes_[at] > 1) return false;
      inputs_.push_back({.time = time, .is_frame = false, .is_link_up = bytes_[at] != 0, .header = {}});
      return true;
    case kSent:
      if (size != sizeof(u64)) return false;
      sent_.push_back({time, value_at<u64>(bytes_, at)});
      return true;
    case kEnd:
      end_ = time;
      return size == 0;
    default:
      return false;
  }
}

Result<NetRecordingWriter> NetRecordingWriter::create(const std::string& path,
                                                      const NetRecordingStart& start) {
  File file(std::fopen(path.c_str(), "wbe"));
  if (!file) return fail("recording '{}': {}", path, std::strerror(errno));
  NetRecordingWriter writer(path, std::move(file));
  FileStart head{};
  head.magic = kMagic;
  head.version = kVersion;
  head.from_guest = bits_of(start.limits.from_guest);
  head.to_guest = bits_of(start.limits.to_guest);
  head.mtu = start.limits.mtu;
  head.is_link_up = start.is_link_up ? 1 : 0;
  writer.write(bytes_of(head));
  return writer;
}

void NetRecordingWriter::write(std::span<const u8> bytes) {
  if (bytes.empty() || has_failed_) return;
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) failed();
}

void NetRecordingWriter::failed() {
  has_failed_ = true;
  LOG_ERROR("recording '{}': {}; it ends here", path_, std::strerror(errno));
}

void NetRecordingWriter::add(Nanoseconds time, u8 kind, std::span<const u8> head, std::span<const u8> rest) {
  const RecordStart record{.time = static_cast<u64>(time.count()),
                           .size = static_cast<u32>(head.size() + rest.size()),
                           .kind = kind,
                           .zero = {}};
  write(bytes_of(record));
  write(head);
  write(rest);
}

void NetRecordingWriter::add_frame(Nanoseconds time, const NetHeader& header, std::span<const u8> frame) {
  add(time, kFrame, bytes_of(header), frame);
}

void NetRecordingWriter::add_link(Nanoseconds time, bool is_up) {
  const u8 value = is_up ? 1 : 0;
  add(time, kLink, {&value, 1});
}

void NetRecordingWriter::add_sent(const NetSent& sent) { add(sent.time, kSent, bytes_of(sent.chain)); }

void NetRecordingWriter::add_end(Nanoseconds time) {
  add(time, kEnd, {});
  if (!has_failed_ && std::fflush(file_.get()) != 0) failed();
}

}  // namespace doppel
