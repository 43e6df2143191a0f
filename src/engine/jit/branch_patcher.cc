// Writing displacements into code.
#include "engine/jit/branch_patcher.h"

#include <cstring>

#include "engine/jit/frame.h"
#include "engine/jit/translator.h"

namespace doppel::jit {

void BranchPatcher::link(u64 place, const Block& block, u64 user_epoch) {
  const auto branch = static_cast<u32>(place & ~kFarUserLink);
  const bool is_user = (place & kFarUserLink) != 0;
  const bool looks = is_user || (place & kLinkLooks) != 0;
  if (is_user) {
    // Before the branch: LEA's displacement, JRCXZ, JMP, an opcode.
    const i32 epoch = -static_cast<i32>(user_epoch & kEpochBits);
    std::memcpy(code_.writable(branch - 9), &epoch, sizeof(epoch));
  }
  if ((place & kLinkIsFar) != 0) {
    i32 unlinked;
    std::memcpy(&unlinked, code_.writable(branch), sizeof(unlinked));
    far_links_.push_back({branch, unlinked});
  }
  const auto distance = static_cast<i32>(block.start + (looks ? block.entry : block.direct) - (branch + 4));
  std::memcpy(code_.writable(branch), &distance, sizeof(distance));
}

void BranchPatcher::cut_far(u64 kernel_epoch) {
  if (kernel_epoch == far_epoch_) return;
  far_epoch_ = kernel_epoch;
  for (const FarLink& far : far_links_) {
    std::memcpy(code_.writable(far.branch), &far.unlinked, sizeof(far.unlinked));
  }
  far_links_.clear();
}

void BranchPatcher::write_jump(u32 position, u32 target) {
  const auto distance = static_cast<i32>(target - (position + 5));
  u8* at = code_.writable(position);
  at[0] = 0xe9;
  std::memcpy(at + 1, &distance, sizeof(distance));
}

void BranchPatcher::kill(const Block& block) {
  write_jump(block.start + block.direct, block.start + block.island);
  write_jump(block.start + block.entry, block.start + block.island);
}

void BranchPatcher::replace(const Block& dead, const Block& block) {
  write_jump(dead.start + dead.direct, block.start + block.direct);
  write_jump(dead.start + dead.entry, block.start + block.entry);
}

void BranchPatcher::write_guard(const Block& block, u64 epoch) {
  const i32 negated = -static_cast<i32>(epoch & kEpochBits);
  std::memcpy(code_.writable(block.start + block.guard), &negated, sizeof(negated));
}

}  // namespace doppel::jit
