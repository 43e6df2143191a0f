// Listing registers through the state's own description.
#include "engine/lockstep/register_difference.h"

#include <fmt/format.h>

#include <algorithm>

namespace doppel::lockstep {
namespace {

constexpr std::size_t kFxsavePart = 16;

std::string number(std::span<const u8> bytes) {
  std::string text = "0x";
  for (std::size_t i = bytes.size(); i-- > 0;) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

std::string element_name(std::string_view name, std::size_t index) {
  static constexpr std::string_view kGprs[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                               "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  if (name == "gpr") return std::string(kGprs[index]);
  if (name == "ymm") return fmt::format("ymm{}", index);
  if (name == "fx") return fmt::format("fxsave+{:#x}", index * kFxsavePart);
  return fmt::format("{}[{}]", name, index);
}

struct Register {
  std::string name;
  std::string value;
};

class RegisterLister final : public StateVisitor {
 public:
  void begin(std::string_view name) override { group_ = std::string(name) + "."; }
  void end() override { group_.clear(); }
  void bytes(std::string_view name, std::span<u8> data) override {
    const std::size_t element = name == "ymm" ? sizeof(Ymm) : name == "fx" ? kFxsavePart : sizeof(u64);
    if (data.size() <= element) {
      registers.push_back({group_ + std::string(name), number(data)});
      return;
    }
    for (std::size_t i = 0; i < data.size() / element; ++i) {
      registers.push_back({element_name(name, i), number(data.subspan(i * element, element))});
    }
  }
  void blob(std::string_view, std::vector<u8>&, std::size_t) override {}
  bool is_loading() const override { return false; }
  void reject(std::string_view) override {}

  std::vector<Register> registers;

 private:
  std::string group_;
};

std::vector<Register> list(CpuState state) {
  RegisterLister lister;
  state.visit_state(lister);
  return std::move(lister.registers);
}

}  // namespace

std::vector<RegisterDifference> register_differences(const CpuState& translated,
                                                     const CpuState& interpreted) {
  const std::vector<Register> left = list(translated);
  const std::vector<Register> right = list(interpreted);
  std::vector<RegisterDifference> found;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i].value != right[i].value) found.push_back({left[i].name, left[i].value, right[i].value});
  }
  return found;
}

}  // namespace doppel::lockstep
