// Translator: one block of guest code into host code.
#pragma once

#include <memory>
#include <vector>

#include "engine/jit/assembler.h"
#include "engine/jit/block_cache.h"
#include "engine/jit/classify.h"
#include "engine/jit/fault_sites.h"
#include "engine/jit/profile_map.h"
#include "engine/jit/relocation.h"
#include "engine/jit/thunks.h"

namespace doppel::jit {

// Flags in Frame::exit_link, with kFarUserLink.
inline constexpr u64 kLinkLooks = u64{1} << 32;  // each time round looks for attention
inline constexpr u64 kLinkIsFar = u64{1} << 33;  // to another page of the kernel's half

// What translation refers to, all of one vCPU.
struct TranslationOptions {
  x86::FeatureSet features;  // what the guest's CPUID offers
  bool counts = false;       // charge Frame::budget
  bool links = true;         // branches lead to other blocks
  bool keeps = false;        // all blocks that can be copied are
  unsigned instructions = 64;
  CodeMap* map = nullptr;  // gets a mark for each instruction
};

struct TranslationContext {
  const Thunks& thunks;
  FaultSites& faults;
  const TranslationOptions& options;
};

inline InstructionDecoder decoder_for(const BlockKey& key, const x86::FeatureSet& features) {
  return InstructionDecoder(key.is_32bit ? 4 : 8, true, features);
}

// Makes one block after the other; it is kept for its buffers.
class Translator {
 public:
  explicit Translator(const TranslationContext& context);

  // `code`: guest bytes from the block's first one to the end of its page, or those of one instruction that
  // reaches into the next page, whose frame is `second_frame`. `room`: where the block goes,
  // `base` bytes from the start of the code memory. The block is valid unless the assembler is full
  // afterwards.
  struct Source {
    BlockKey key;
    std::span<const u8> code;
    u32 second_frame = Block::kNoFrame;
  };
  Block translate(const Source& source, Assembler& assembler, u32 base);
  // Of the block made last; without meaning unless it is copyable.
  std::span<const Relocation> relocations() const { return relocations_; }

 private:
  // A place out of the way, emitted behind the block.
  enum class Aside : u8 { kMiss, kFind, kInterpret, kLink, kLook, kBudget };
  struct Detour {
    Aside aside;
    u32 branch;               // displacement that leads there
    u32 retry = 0;            // kMiss, kFind: where the access or the lookup begins
    u64 rip = 0;              // of the instruction, or kLink, kLook: where to go
    u32 detail = 0;           // kMiss, kFind: Detail
    u64 link = 0;             // kLink: Link flags
    Host address = kAddress;  // kMiss: where the address is
  };
  struct Item {
    Decoded decoded;
    Classified classified;
    u64 rip;
    u64 next() const { return rip + decoded.instruction.length; }
  };

  // What depends on the size of the code: a word is what the stack and addresses are made of.
  bool is_64bit() const { return !key_.is_32bit; }
  unsigned word() const { return key_.is_32bit ? 4 : 8; }
  u64 wrapped(u64 rip) const { return key_.is_32bit ? rip & 0xffffffff : rip; }
  void load_word(Host to, const Memory& from) { assembler_->op(is_64bit(), {0x8b}, to, from); }
  void store_word(const Memory& to, Host from) { assembler_->op(is_64bit(), {0x89}, from, to); }
  void lea_word(Host to, const Memory& address) { assembler_->op(is_64bit(), {0x8d}, to, address); }
  u64 target_of(const Item& branch) const {
    return wrapped(branch.next() + static_cast<u64>(branch.decoded.operand(0).imm.value.s));
  }

  // translator.cc
  void decode(std::span<const u8> code, unsigned most);
  void leave_out_last_sti(u64& offset);
  void emit_guard(Block& block);
  void emit_head(Block& block);
  bool emit_item(const Item& item);
  void emit_detours();
  void interpret_from(u64 rip);
  void charge();
  void give_back(u64 rip);
  unsigned left_from(u64 rip) const;
  void mark(u64 rip, bool is_aside) {
    if (options_.map != nullptr) [[unlikely]]
      options_.map->add({rip, position(), key_.mode, is_aside});
  }
  // What depends on where code lies.
  void relocate(Relocation::Kind kind, u32 at, u32 target = 0) {
    relocations_.push_back({kind, static_cast<u16>(at), static_cast<u16>(target)});
  }
  void set_address(Host to, u64 address);
  void set_address_low(Host to, u64 address);
  void set_place(Host to, u64 place);
  void jump_out(const u8* thunk);
  void call_out(const u8* thunk);
  u32 position() const { return assembler_->position() + base_; }

  // translate_memory.cc: addresses and accesses.
  void require_segment(const Item& item, const ZydisDecodedOperand& operand);
  Host emit_address(const Item& item, const ZydisDecodedOperand& operand);
  void emit_lea_of(const Item& item, const ZydisDecodedOperand& operand, Host to, bool is_wide);
  // Changes kAddend and kTest; the result is where the operand is in the host.
  Memory emit_access(const Item& item, Host address, unsigned size, bool is_write);
  Memory emit_operand(const Item& item, const ZydisDecodedOperand& operand);
  void load_guest(Host to, unsigned guest);
  void store_guest(unsigned guest, Host from);

  // translate_plain.cc
  struct Registers;
  class Assignment;
  static Registers assign(const Decoded& decoded, const Assignment& assignment, bool has_high);
  void emit_plain(const Item& item);
  void emit_operation(const Item& item, const ZydisDecodedOperand* memory, Memory place);
  void emit_lea(const Item& item);
  void emit_encoded(const Decoded& decoded, const Registers& registers, const Memory* memory);

  // translate_stack.cc: pushes and pops in a row share one look into the TLB.
  unsigned stack_run(unsigned first) const;
  bool emit_stack_run(std::span<const Item> run);
  void emit_pushes(std::span<const Item> run);
  void emit_pops(std::span<const Item> run);
  void load_popped(unsigned guest, const Memory& place);
  void store_pushed(const Item& item, const Memory& place);
  void store_return(const Item& item, const Memory& place);

  // translate_flow.cc
  void emit_push(const Item& item);
  void emit_pop(const Item& item);
  void emit_leave(const Item& item);
  void emit_call(const Item& item);
  void emit_return(const Item& item);
  void emit_jump_if(const Item& item);
  void emit_loop(const Item& item);
  void emit_indirect(const Item& item);
  void emit_load_target(const Item& item);
  void emit_push_return(const Item& item);
  void emit_lookup(const Item& item);
  void emit_jump_from_return(const Item& item);
  void go_to(u64 target, u64 from);
  void bind_target(u32 branch, u64 target, u64 from);
  void emit_look_for(u64 target, AccessMode mode);
  void emit_far_user(u64 target);

  // translate_system.cc: privileged and system instructions in line.
  bool emit_system(const Item& item);
  void require_zero(const Item& item);
  void require_zero(const Item& item, u64 field);
  void require_no_interrupt(const Item& item);
  void emit_flags_image(Host to);
  void emit_flag_instruction(const Item& item);
  void emit_push_flags(const Item& item);
  void emit_access_flag(const Item& item);
  void emit_swap_gs();
  void emit_system_call(const Item& item);
  void emit_system_return(const Item& item);
  void emit_segments(unsigned which);
  void emit_look_in(AccessMode mode);
  void emit_read_tsc(const Item& item);
  void emit_read_pid(const Item& item);
  void emit_read_base(const Item& item);
  void emit_read_control(const Item& item);
  void emit_load_x87_control(const Item& item);

  // translate_string.cc: operands that reach beyond what their encoding says.
  void emit_bit_string(const Item& item);
  void emit_string(const Item& item);
  void emit_block_access(const Item& item, Host address, bool is_write);
  bool is_same_page(u64 target) const { return (target ^ key_.rip) >> kPageShift == 0; }
  // Kernels change what their code's addresses mean so rarely that branches between pages are linked, and cut
  // off when it happens.
  bool is_linkable(u64 target) const {
    return options_.links &&
           (is_same_page(target) || (key_.mode != kUser && target >> 63 != 0 && key_.rip >> 63 != 0));
  }
  Memory code_of(Host index) const {
    return {.base = kFrameRegister, .index = index, .scale = 3, .displacement = jump_offset(key_.mode, true)};
  }

  std::span<const Item> items() const { return {items_.get(), item_count_}; }

  const Thunks& thunks_;
  FaultSites& faults_;
  const TranslationOptions& options_;

  // Of the block that is being made.
  Assembler* assembler_ = nullptr;
  u32 base_ = 0;  // of the assembler's first byte in the code memory
  BlockKey key_;
  std::unique_ptr<Item[]> items_;
  unsigned item_count_ = 0;
  u64 end_rip_ = 0;
  std::vector<Detour> detours_;
  std::vector<Relocation> relocations_;
  bool is_copyable_ = false;
  struct Fault {
    u32 position;
    u64 rip;
  };
  std::vector<Fault> fault_places_;
  u32 island_ = 0;
  u32 entry_ = 0;
  AccessMode next_mode_ = kSupervisor;  // of what follows the block
  bool is_interpreted_ = false;         // an instruction was left to the interpreter
};

}  // namespace doppel::jit
