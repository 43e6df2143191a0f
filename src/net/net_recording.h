// NetRecording: what came to a network card and when, and what it sent, as a file. docs/design/network.md.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/inputs.h"
#include "base/result.h"
#include "net/net_backend.h"

namespace doppel {

// What a card is told of the other end of its cable when it is made.
struct NetRecordingStart {
  NetLimits limits;
  bool is_link_up = true;
};

// A frame that reached the card, or a change of the cable.
struct NetInput {
  Nanoseconds time{0};
  bool is_frame = true;
  bool is_link_up = true;  // not a frame
  NetHeader header;
  std::size_t offset = 0;  // of the frame's bytes
  std::size_t size = 0;
};

// A frame that the card sent: `chain` is the hash of it and all before it.
struct NetSent {
  Nanoseconds time{0};
  u64 chain = 0;
};

// Hash of everything sent up to a frame, from the hash of everything before it.
u64 chain_frame(u64 chain, const NetHeader& header, std::span<u8> frame);

// Reads the whole of a recording; files are not trusted.
class NetRecording {
 public:
  static constexpr u64 kMaxFileSize = u64{1} << 30;

  static Result<NetRecording> open(const std::string& path);
  // `name` stands for the file in errors.
  static Result<NetRecording> parse(const std::string& name, std::vector<u8> bytes);

  const NetRecordingStart& start() const { return start_; }
  const std::vector<NetInput>& inputs() const { return inputs_; }
  const std::vector<NetSent>& sent() const { return sent_; }
  // When the recorded run ended; Timer::kNever if that is not known, because it was cut off.
  Nanoseconds end() const { return end_; }
  std::span<const u8> frame(const NetInput& input) const {
    return std::span(bytes_).subspan(input.offset, input.size);
  }

 private:
  Result<void> parse_start(const std::string& name);
  Result<void> parse_record(const std::string& name, std::size_t& at);
  bool take(Nanoseconds time, u8 kind, std::size_t at, std::size_t size);

  std::vector<u8> bytes_;
  NetRecordingStart start_;
  std::vector<NetInput> inputs_;
  std::vector<NetSent> sent_;
  Nanoseconds last_{0};
  Nanoseconds end_ = Nanoseconds::max();
};

// Writes a recording. What cannot be written is reported once; the recording is then cut off there.
class NetRecordingWriter {
 public:
  static Result<NetRecordingWriter> create(const std::string& path, const NetRecordingStart& start);

  void add_frame(Nanoseconds time, const NetHeader& header, std::span<const u8> frame);
  void add_link(Nanoseconds time, bool is_up);
  void add_sent(const NetSent& sent);
  void add_end(Nanoseconds time);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Close>;

  NetRecordingWriter(std::string path, File file) : path_(std::move(path)), file_(std::move(file)) {}
  void write(std::span<const u8> bytes);
  void failed();
  void add(Nanoseconds time, u8 kind, std::span<const u8> head, std::span<const u8> rest = {});

  std::string path_;
  File file_;
  bool has_failed_ = false;
};

}  // namespace doppel
