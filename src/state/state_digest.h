// StateHasher and StatePrinter: comparing machines by one number, or line by line.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "state/state_path.h"
#include "state/state_visitor.h"

struct XXH3_state_s;

namespace doppel {

// Hashes names, lengths and bytes of every field (XXH3-64). Owned by whoever audits; one use each. Equal
// digests mean equal states for anything but an adversary: the hash is fast, not cryptographic.
class StateHasher final : public StateVisitor {
 public:
  StateHasher();
  ~StateHasher() override;
  StateHasher(const StateHasher&) = delete;
  StateHasher& operator=(const StateHasher&) = delete;

  void begin(std::string_view name) override;
  void end() override;
  void bytes(std::string_view name, std::span<u8> data) override;
  void blob(std::string_view name, std::vector<u8>& data, std::size_t max_size) override;
  bool is_loading() const override { return false; }
  void reject(std::string_view) override {}

  // Of everything visited so far.
  u64 digest() const;

 private:
  // What separates records, so that no two different states feed the hash the same bytes.
  void add_tag(u8 kind, std::string_view name, u64 length);

  XXH3_state_s* hash_;  // owned; never null
};

// One line a field, for diffing two machines: numbers in hexadecimal, short byte strings in memory order,
// long ones as length and hash. Owned by whoever wants to look.
class StatePrinter final : public StateVisitor {
 public:
  void begin(std::string_view name) override { path_.enter(name); }
  void end() override { path_.leave(); }
  void bytes(std::string_view name, std::span<u8> data) override;
  void blob(std::string_view name, std::vector<u8>& data, std::size_t max_size) override;
  bool is_loading() const override { return false; }
  void reject(std::string_view) override {}

  const std::string& text() const { return text_; }

 private:
  StatePath path_;
  std::string text_;
};

}  // namespace doppel
