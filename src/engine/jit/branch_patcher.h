// BranchPatcher: branches of translated code that lead to other blocks, and blocks that are no more.
#pragma once

#include <vector>

#include "cpu/code_buffer.h"
#include "engine/jit/block_cache.h"

namespace doppel::jit {

// Patches the code of one vCPU, on its thread, while none of it runs or nothing it changes is being executed.
class BranchPatcher {
 public:
  explicit BranchPatcher(CodeBuffer& code) : code_(code) {}

  // The branch at `place`, as Frame::exit_link names it, leads to the block from now on; of user code that
  // goes to another page, for one `user_epoch`.
  void link(u64 place, const Block& block, u64 user_epoch);
  // What addresses of the kernel's code mean changed when `kernel_epoch` began.
  void cut_far(u64 kernel_epoch);
  // Whoever comes to the block from now on leaves to look for what took its place,
  void kill(const Block& block);
  // or goes there.
  void replace(const Block& dead, const Block& block);
  // The epoch for which the block's second page is known.
  void write_guard(const Block& block, u64 epoch);
  // All code is gone.
  void clear() { far_links_.clear(); }

 private:
  // Branches between pages of the kernel, and their displacements before they were linked.
  struct FarLink {
    u32 branch;
    i32 unlinked;
  };
  void write_jump(u32 position, u32 target);

  CodeBuffer& code_;
  std::vector<FarLink> far_links_;
  u64 far_epoch_ = 0;
};

}  // namespace doppel::jit
