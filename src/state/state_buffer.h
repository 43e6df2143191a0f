// StateSaver and StateLoader: a component's state as bytes, and back.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "state/state_format.h"
#include "state/state_path.h"
#include "state/state_visitor.h"

namespace doppel {

// Collects the fields of whatever it visits into one buffer. Owned by whoever takes a checkpoint; one use
// each.
class StateSaver final : public StateVisitor {
 public:
  StateSaver();

  void begin(std::string_view name) override;
  void end() override;
  void bytes(std::string_view name, std::span<u8> data) override;
  void blob(std::string_view name, std::vector<u8>& data, std::size_t max_size) override;
  bool is_loading() const override { return false; }
  // Only loaded values can be refused: a running machine is saved as it is.
  void reject(std::string_view) override {}

  // The finished state; all groups must have ended.
  std::vector<u8> take();

 private:
  void append(std::span<const u8> data) { buffer_.insert(buffer_.end(), data.begin(), data.end()); }
  void append_name(StateRecord kind, std::string_view name);
  void append_field(StateRecord kind, std::string_view name, std::span<const u8> data);

  std::vector<u8> buffer_;
  u64 depth_ = 0;  // groups that are open
};

// Overwrites the fields of whatever it visits from a buffer that nobody has checked. After the first error it
// leaves every field untouched, so a component needs no checks of its own between fields. Owned by whoever
// restores; the buffer must outlive it.
class StateLoader final : public StateVisitor {
 public:
  explicit StateLoader(std::span<const u8> state);

  void begin(std::string_view name) override;
  void end() override;
  void bytes(std::string_view name, std::span<u8> data) override;
  void blob(std::string_view name, std::vector<u8>& data, std::size_t max_size) override;
  bool is_loading() const override { return true; }
  void reject(std::string_view what) override;

  bool has_failed() const { return error_.has_value(); }

  // The first error, or what is wrong at the end: open groups or bytes left over.
  Result<void> finish() const;

 private:
  struct Field {
    StateRecord kind;
    std::string_view name;
    std::span<const u8> data;
  };

  void set_error(std::string message);
  // The record at the read position, which then moves past it; nothing when it does not fit in the buffer.
  std::optional<Field> next_record();
  // The data of the next record when it is of this kind and name; otherwise sets the error.
  std::optional<std::span<const u8>> expect(StateRecord kind, std::string_view name);
  std::optional<std::span<const u8>> take_bytes(u64 count);

  std::span<const u8> rest_;
  StatePath path_;
  std::optional<std::string> error_;
};

}  // namespace doppel
