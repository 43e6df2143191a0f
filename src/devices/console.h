// The two directions of a console: CharacterSink takes what the guest prints, ConsoleInput what the user
// types.
#pragma once

#include <functional>
#include <span>
#include <utility>

#include "base/types.h"

namespace doppel {

// Where a serial port's output goes. Owned by the machine; called with the device lock held, must not block.
class CharacterSink {
 public:
  virtual ~CharacterSink() = default;
  virtual void put(std::span<const u8> characters) = 0;
};

// A device that takes console input. Called by the machine with the device lock held.
class ConsoleInput {
 public:
  virtual ~ConsoleInput() = default;

  // Takes a prefix of `characters` and returns its length. After a short count the callback given to
  // on_input_space() is called once, when at least one more character would be taken.
  virtual std::size_t receive(std::span<const u8> characters) = 0;
  bool receive(u8 character) { return receive(std::span<const u8>(&character, 1)) == 1; }

  // The break condition of a serial line (Linux: SysRq). False when there is no room for it.
  virtual bool receive_break() = 0;

  // `callback` is called with the device lock held and may call receive().
  void on_input_space(std::function<void()> callback) { on_input_space_ = std::move(callback); }

 protected:
  void announce_input_space() {
    if (on_input_space_) on_input_space_();
  }

 private:
  std::function<void()> on_input_space_;
};

}  // namespace doppel
