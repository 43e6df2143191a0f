// ControlLines: commands for a running machine as lines of text.
#pragma once

#include <string>
#include <string_view>

#include "control/control.h"

namespace doppel {

// Answers each line with one line, without its end: "ok", "ok KEY=VALUE ..." or "error: TEXT". Lines are
// hostile: whatever they contain, nothing but a known command reaches the machine. Owned by ControlSocket;
// used on its thread.
class ControlLines {
 public:
  explicit ControlLines(CommandPort port) : port_(std::move(port)) {}
  std::string answer(std::string_view line);

 private:
  std::string set_balloon(std::string_view size);
  std::string read_balloon();
  std::string switch_engine(std::string_view name);
  std::string execute(const Command& command);

  CommandPort port_;
};

}  // namespace doppel
