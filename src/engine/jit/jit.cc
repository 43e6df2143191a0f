// The dispatcher of translated code: finds blocks, makes them, links them, and keeps frames in step with the
// paging unit.
#include "engine/jit/jit.h"

#include <algorithm>
#include <array>

#include "base/verify.h"
#include "cpu/code_buffer.h"
#include "cpu/core.h"
#include "engine/jit/branch_patcher.h"
#include "engine/jit/gates.h"
#include "engine/jit/profile_hooks.h"
#include "engine/jit/statistics.h"
#include "engine/jit/translation_store.h"
#include "engine/jit/translator.h"

namespace doppel::jit {
namespace {

constexpr u32 kLargestBlock = 64 * kKiB;
constexpr u64 kLongestCode = 1024;  // of the guest in a block, and of an instruction behind it

class Jit final : public TranslatedCode {
 public:
  Jit(const TranslatorConfig& config, CodeBuffer code)
      : options_{.features = config.features,
                 .counts = config.counts_instructions,
                 .links = config.links_blocks,
                 .keeps = config.store != nullptr,
                 .instructions = config.block_instructions},
        code_(std::move(code)),
        faults_(code_.executable(0), static_cast<u32>(code_.size())),
        observation_(code_, config.features, config.keeps_map, config.observers),
        store_(config.store) {
    options_.map = observation_.map();
    start_code();
    variant_ = variant_of(options_, thunks_, code_.executable(0));
  }

  void attach(Core& core, const std::atomic<i64>& attention, const std::atomic<bool>& pending) override {
    core_ = &core;
    attention_ = &attention;
    pending_ = &pending;
  }
  Outcome run(i64& budget) override;
  NextBlock next_block() override;
  bool counts_instructions() const override { return options_.counts; }
  void leave_for_user(bool leaves) override { leaves_for_user_ = leaves; }
  u64 system_calls() const override { return frame_of(core_->mmu.address_space()).system_calls; }
  void attention() override {
    for (const std::atomic<Frame*>& known : frames_) {
      Frame* frame = known.load(std::memory_order_acquire);
      if (frame != nullptr) frame->go.store(0, std::memory_order_seq_cst);
    }
  }
  bool code_written(GuestPhys address, u64 size) override {
    return blocks_.drop_written(address, size, [this](Block& block) { kill(block); });
  }
  bool holds(u64 frame) const override { return blocks_.holds(frame); }
  void forget_all() override {
    blocks_.drop_all([this](Block& block) { kill(block); });
  }
  std::vector<std::pair<std::string_view, u64>> statistics() const override {
    return counts_.list(code_.used());
  }
  void add_metrics(MetricList& list) const override {
    add_translator_metrics(statistics(), observation_.emitted_bytes(), list);
    observation_.interpreted.add_metrics(list);
  }
  GuestPlace locate(u64 host_pc) const override { return observation_.locate(*core_, host_pc); }

 private:
  static constexpr unsigned kMaxFrames = 16;

  static u64 miss(Frame* frame, u64 address, u64 detail, const u8* return_address);
  static u64 find(Frame* frame, u64 rip, u64 detail, const u8* return_address);
  u64 fail(Frame& frame, const Detail& detail, const u8* return_address);
  static u64 read_tsc(Frame* frame, u64, u64, const u8*);
  void start_code();
  void clear();
  Frame& prepare();
  bool enter_block(Frame& frame);
  void set_up(Frame& frame);
  void check_epochs(Frame& frame);
  Block* find_or_translate(u64 rip, AccessMode mode, bool may_clear);
  bool is_full() const { return code_.size() - code_.used() < kLargestBlock; }
  Block* make(const BlockKey& key);
  Block* copy_twin(const BlockKey& key);
  Block* reuse(const BlockKey& key, std::span<const u8> page);
  Block* copy(const Block& original, std::span<const Relocation> relocations, const u8* from,
              const BlockKey& key);
  void store(const Block& block, std::span<const u8> page);
  Block* translate(const BlockKey& key, std::span<const u8> page);
  Block* keep(const Block& block);
  bool crosses_page(const Translator::Source& source) const;
  u32 frame_behind(const BlockKey& key) const;
  void add_next_page(Translator::Source& source, std::span<u8> bytes);
  bool renew_guard(const Block& block);
  void write_guard(const Block& block);
  void drop(Block& block);
  void kill(const Block& block);
  void take_back(const Frame& frame);

  TranslationOptions options_;
  CodeBuffer code_;
  Thunks thunks_;
  BranchPatcher patcher_{code_};
  BlockCache blocks_;
  FaultSites faults_;
  Translator translator_{{.thunks = thunks_, .faults = faults_, .options = options_}};
  Observation observation_;
  Core* core_ = nullptr;
  const std::atomic<i64>* attention_ = nullptr;
  const std::atomic<bool>* pending_ = nullptr;
  std::array<std::atomic<Frame*>, kMaxFrames> frames_ = {};
  Statistics counts_;
  std::shared_ptr<TranslationStore> store_;
  u64 variant_ = 0;  // of translations in the store
  bool leaves_for_user_ = false;
  u64 epoch_turn_ = 0;
};

void Jit::start_code() {
  Assembler assembler(code_.room(), code_.executable(code_.used()));
  thunks_ = emit_thunks(assembler, {.miss = &Jit::miss, .find = &Jit::find, .tsc = &Jit::read_tsc});
  VERIFY(!assembler.is_full());
  code_.commit(assembler.position());
}

// Full: everything goes, and what is needed is translated again.
void Jit::clear() {
  ++counts_.clears;
  blocks_.clear();
  patcher_.clear();
  faults_.clear();
  observation_.clear();
  code_.clear();
  start_code();
  for (const std::atomic<Frame*>& known : frames_) {
    Frame* frame = known.load();
    if (frame == nullptr) continue;
    for (JumpCache& jumps : frame->jumps) jumps.clear();
  }
}

void Jit::set_up(Frame& frame) {
  new (&frame) Frame();
  frame.set_constants();
  frame.pending = pending_;
  frame.state = &core_->state;
  frame.engine = reinterpret_cast<u64>(this);
  for (std::atomic<Frame*>& known : frames_) {
    if (known.load() != nullptr) continue;
    known.store(&frame, std::memory_order_release);
    return;
  }
  VERIFY(false);
}

// Jump caches are right as long as nothing changed what code addresses mean.
void Jit::check_epochs(Frame& frame) {
  for (unsigned mode = 0; mode < kAccessModes; ++mode) {
    const bool is_user = mode == kUser;
    const std::array<u64, 2> now = {core_->mmu.code_epoch(is_user, 0), core_->mmu.code_epoch(is_user, 1)};
    if (frame.epochs[mode] == now) continue;
    const std::array<u64, 2> old = std::exchange(frame.epochs[mode], now);
    JumpCache& jumps = frame.jumps[mode];
    // The kernel's stay when what the lower half means has changed.
    if ((jumps.has_half[0] && old[0] != now[0]) || (jumps.has_half[1] && old[1] != now[1])) jumps.clear();
  }
  // Epochs that look alike must not be taken for each other.
  const u64 user_epoch = core_->mmu.code_epoch(true, 0);
  if (user_epoch / (kEpochBits + 1) != epoch_turn_) {
    epoch_turn_ = user_epoch / (kEpochBits + 1);
    clear();
  }
  frame.user_epoch = user_epoch & kEpochBits;
  frame.kernel_epoch = core_->mmu.code_epoch(false, 1) & kEpochBits;
}

Frame& Jit::prepare() {
  Frame& frame = frame_of(core_->mmu.address_space());
  bool is_known = false;
  for (const std::atomic<Frame*>& known : frames_)
    is_known |= known.load(std::memory_order_relaxed) == &frame;
  if (!is_known) set_up(frame);
  const CpuState& state = core_->state;
  frame.exit_link = 0;  // of a branch that led elsewhere
  frame.use_code_size(core_->cpl == 3, !core_->is_64bit);
  check_epochs(frame);
  patcher_.cut_far(core_->mmu.code_epoch(false, 1));
  frame.fs_base = state.segments[x86::kFs].base;
  frame.gs_base = state.segments[x86::kGs].base;
  frame.kernel_gs_base = state.kernel_gs_base;
  frame.interrupt_flag = state.rflags & x86::kFlagIf;
  frame.other_flags = state.rflags & ~(x86::kArithmeticFlags | x86::kFlagIf | x86::kFlagRf);
  open_gates(frame, *core_, leaves_for_user_);
  return frame;
}

TranslatedCode::Outcome Jit::run(i64& budget) {
  Frame& frame = prepare();
  CpuState& state = core_->state;
  // A block that was dropped leaves to be looked for again: not by what led to it.
  const u8* known = frame.jumps[core_->access_mode].find(state.rip);
  for (;; known = nullptr) {
    // Whoever set an attention that has been answered meanwhile may have lowered it afterwards.
    if (frame.go.load(std::memory_order_relaxed) == 0) frame.go.store(1, std::memory_order_seq_cst);
    if (attention_->load(std::memory_order_seq_cst) != 0) return Outcome::kAttention;
    if (known == nullptr && !enter_block(frame)) return Outcome::kInterpret;
    if (known != nullptr) frame.entry = reinterpret_cast<u64>(known);
    frame.exit_flags = (state.rflags & x86::kArithmeticFlags) | x86::kFlagReserved1 | x86::kFlagIf;
    ++counts_.entries;
    if (options_.counts && budget <= 0) return Outcome::kBudget;
    frame.budget = budget;
    observation_.enter(&frame);
    thunks_.enter(&frame);
    observation_.enter(nullptr);
    if (options_.counts) budget = frame.budget;
    take_back(frame);
    if (frame.exit_reason == Leave::kBudget) return Outcome::kBudget;
    if (frame.exit_reason == Leave::kInterpret) {
      ++counts_.interpreted;
      observation_.interpreted.count(*core_, counts_.drops + counts_.clears);
      return Outcome::kInterpret;
    }
  }
}

// The block at RIP is what to run next, also for whoever came here by a branch. False: it is the
// interpreter's.
bool Jit::enter_block(Frame& frame) {
  const u64 rip = core_->state.rip;
  const u64 clears = counts_.clears;
  const Block* block = find_or_translate(rip, core_->access_mode, true);
  if (block == nullptr) return false;
  if (counts_.clears != clears) check_epochs(frame);
  const u64 place = std::exchange(frame.exit_link, 0);
  if (place != 0 && counts_.clears == clears) {
    ++counts_.links;
    patcher_.link(place, *block, core_->mmu.code_epoch(true, 0));
  }
  if (options_.links) frame.jumps[block->key.mode].insert(rip, code_.executable(block->start + block->entry));
  frame.entry = reinterpret_cast<u64>(code_.executable(block->start + block->direct));
  return true;
}

TranslatedCode::NextBlock Jit::next_block() {
  const Block* block = find_or_translate(core_->state.rip, core_->access_mode, true);
  if (block == nullptr) return {};
  return {.executed = block->executed, .charged = block->instructions};
}

void Jit::take_back(const Frame& frame) {
  CpuState& state = core_->state;
  state.rip = frame.exit_rip;
  state.rflags = frame.other_flags | frame.interrupt_flag | (frame.exit_flags & x86::kArithmeticFlags);
  state.segments[x86::kGs].base = frame.gs_base;
  state.kernel_gs_base = frame.kernel_gs_base;
  core_->update_mode();
}

// The block at `rip`; nullptr when the interpreter has to look at it.
Block* Jit::find_or_translate(u64 rip, AccessMode mode, bool may_clear) {
  if (!core_->is_canonical(rip)) return nullptr;
  const Translation translation = core_->mmu.translate_code(GuestVirt(rip), mode == kUser);
  if (!translation.is_valid) return nullptr;
  const BlockKey key{
      .rip = rip, .physical = translation.physical.value(), .mode = mode, .is_32bit = !core_->is_64bit};
  if (Block* block = blocks_.find(key)) {
    if (block->second_frame == Block::kNoFrame || renew_guard(*block)) return block;
    drop(*block);
  }
  if (!core_->memory.is_ram(translation.physical.page_base(), kPageSize)) return nullptr;
  if (is_full()) {
    if (!may_clear) return nullptr;
    clear();
  }
  return make(key);
}

Block* Jit::make(const BlockKey& key) {
  CodeFrames& code_frames = core_->memory.code_frames();
  const u64 frame_number = key.physical >> kPageShift;
  const CodeFrames::UserId user = core_->mmu.code_user();
  do code_frames.mark(frame_number, user);
  while (!code_frames.is_marked_by(frame_number, user));
  if (Block* copied = copy_twin(key)) return copied;
  const u64 room = kPageSize - (key.physical & kPageOffsetMask);
  std::span<const u8> page(core_->memory.host(GuestPhys(key.physical)), room);
  if (store_ == nullptr) return translate(key, page);
  // A copy: what is kept must be what was translated, although another CPU may be writing there.
  std::array<u8, kLongestCode> code;
  page = page.first(std::min(room, kLongestCode));
  std::ranges::copy(page, code.begin());
  page = std::span(code).first(page.size());
  if (Block* stored = reuse(key, page)) return stored;
  return translate(key, page);
}

// Another process has run the same page at another address.
Block* Jit::copy_twin(const BlockKey& key) {
  const Block* twin = blocks_.twin_of(key);
  if (twin == nullptr) return nullptr;
  Block* block = copy(*twin, blocks_.relocations_of(*twin), code_.writable(twin->start), key);
  if (block == nullptr) return nullptr;
  ++counts_.copies;
  return block;
}

// A machine before this one has run the same code.
Block* Jit::reuse(const BlockKey& key, std::span<const u8> page) {
  if (options_.map != nullptr) return nullptr;
  const std::optional<TranslationStore::Stored> stored = store_->find(variant_, key, page);
  if (!stored) return nullptr;
  Block* block = copy(stored->block, stored->relocations, stored->code.data(), key);
  if (block == nullptr) return nullptr;
  blocks_.keep_relocations(*block, stored->relocations);
  ++counts_.reused;
  return block;
}

Block* Jit::copy(const Block& original, std::span<const Relocation> relocations, const u8* from,
                 const BlockKey& key) {
  const auto base = static_cast<u32>(code_.used());
  std::optional<Block> block = copy_block(original, relocations, from, code_.writable(base), key.rip, base);
  if (!block) return nullptr;
  block->key = key;
  code_.commit(block->size);
  for (const Relocation& relocation : relocations) {
    if (relocation.kind == Relocation::Kind::kFault)
      faults_.add(base + relocation.at, base + relocation.target);
  }
  return keep(*block);
}

// For machines after this one.
void Jit::store(const Block& block, std::span<const u8> page) {
  const std::span<const Relocation> relocations = translator_.relocations();
  std::vector<u8> code(block.size);
  const std::optional<Block> moved =
      copy_block(block, relocations, code_.writable(block.start), code.data(), block.key.rip, 0);
  if (moved) store_->add(variant_, {.block = *moved, .relocations = relocations, .code = code}, page);
}

Block* Jit::translate(const BlockKey& key, std::span<const u8> page) {
  const u64 room = page.size();
  Translator::Source source{.key = key, .code = page};
  u8 bytes[2 * ZYDIS_MAX_INSTRUCTION_LENGTH];
  if (room < ZYDIS_MAX_INSTRUCTION_LENGTH && crosses_page(source)) add_next_page(source, bytes);
  const auto base = static_cast<u32>(code_.used());
  Assembler assembler(code_.room(), code_.executable(base));
  observation_.begin_block();
  Block block = translator_.translate(source, assembler, base);
  observation_.end_block(block, source.code, base);
  VERIFY(!assembler.is_full());
  code_.commit(assembler.position());
  ++counts_.translations;
  if (block.second_frame != Block::kNoFrame) write_guard(block);
  if (block.is_copyable) {
    blocks_.keep_relocations(block, translator_.relocations());
    if (store_ != nullptr) store(block, page);
  }
  return keep(block);
}

// In place of a dead block with the same key, if there is one.
Block* Jit::keep(const Block& block) {
  return &blocks_.insert(block, [&](const Block& old) { patcher_.replace(old, block); });
}

bool Jit::crosses_page(const Translator::Source& source) const {
  Decoded decoded;
  const InstructionDecoder decoder = decoder_for(source.key, options_.features);
  return decoder.decode(source.code.data(), source.code.size(), 0, decoded) ==
         InstructionDecoder::Status::kNeedsMore;
}

u32 Jit::frame_behind(const BlockKey& key) const {
  const u64 next = (key.rip & ~kPageOffsetMask) + kPageSize;
  const bool is_beyond = key.is_32bit ? next >> 32 != 0 : next >> 63 != key.rip >> 63;
  if (is_beyond || !core_->is_canonical(next)) return Block::kNoFrame;
  const Translation translation = core_->mmu.translate_code(GuestVirt(next), key.mode == kUser);
  const GuestPhys page = translation.physical.page_base();
  if (!translation.is_valid || !core_->memory.is_ram(page, kPageSize)) return Block::kNoFrame;
  return page.page_number() < Block::kNoFrame ? static_cast<u32>(page.page_number()) : Block::kNoFrame;
}

// For an instruction that reaches into the next page, of which nothing else is translated. Code of the lower
// half that is not the user's is not worth it.
void Jit::add_next_page(Translator::Source& source, std::span<u8> bytes) {
  const BlockKey& key = source.key;
  if (key.mode != kUser && key.rip >> 63 == 0) return;
  const u32 next = frame_behind(key);
  if (next == Block::kNoFrame || next == key.physical >> kPageShift) return;
  CodeFrames& code_frames = core_->memory.code_frames();
  const CodeFrames::UserId user = core_->mmu.code_user();
  const u64 first = key.physical >> kPageShift;
  do {
    code_frames.mark(first, user);
    code_frames.mark(next, user);
  } while (!code_frames.is_marked_by(first, user) || !code_frames.is_marked_by(next, user));
  std::ranges::copy(source.code, bytes.begin());
  const u8* tail = core_->memory.host(GuestPhys(u64{next} << kPageShift));
  std::copy_n(tail, ZYDIS_MAX_INSTRUCTION_LENGTH, bytes.begin() + static_cast<i64>(source.code.size()));
  source.code = bytes.first(source.code.size() + ZYDIS_MAX_INSTRUCTION_LENGTH);
  source.second_frame = next;
}

// False: the next page is another one now.
bool Jit::renew_guard(const Block& block) {
  if (frame_behind(block.key) != block.second_frame) return false;
  write_guard(block);
  return true;
}

void Jit::write_guard(const Block& block) {
  const u64 half = block.key.rip >> 63;
  patcher_.write_guard(block, core_->mmu.code_epoch(half == 0, static_cast<unsigned>(half)));
}

void Jit::drop(Block& block) {
  block.is_dead = true;
  kill(block);
}

void Jit::kill(const Block& block) {
  ++counts_.drops;
  patcher_.kill(block);
}

u64 Jit::miss(Frame* frame, u64 address, u64 packed, const u8* return_address) {
  Jit& jit = *reinterpret_cast<Jit*>(frame->engine);
  Core& core = *jit.core_;
  ++jit.counts_.misses;
  const Detail detail = Detail::unpack(packed);
  const bool fits = (address & kPageOffsetMask) <= kPageSize - detail.size && core.is_canonical(address);
  if (fits) {
    core.mmu.fill(GuestVirt(address), detail.is_write ? Access::kWrite : Access::kRead, detail.mode);
    const TlbTable& table = core.mmu.table(detail.mode);
    if ((detail.is_write ? table.write : table.read).find(address, detail.size) != nullptr) return 1;
  }
  return jit.fail(*frame, detail, return_address);
}

// Puts the block into the jump cache; what cannot be found here is for the interpreter.
u64 Jit::find(Frame* frame, u64 rip, u64 packed, const u8* return_address) {
  Jit& jit = *reinterpret_cast<Jit*>(frame->engine);
  ++jit.counts_.finds;
  const Detail detail = Detail::unpack(packed);
  if (jit.options_.links && jit.core_->is_canonical(rip)) {
    const Block* block = jit.find_or_translate(rip, detail.mode, false);
    if (block != nullptr) {
      frame->jumps[detail.mode].insert(rip, jit.code_.executable(block->start + block->entry));
      return 1;
    }
  }
  return jit.fail(*frame, detail, return_address);
}

// The instruction that called is for the interpreter.
u64 Jit::fail(Frame& frame, const Detail& detail, const u8* return_address) {
  const Block& block = blocks_.at(static_cast<u32>(return_address - 1 - code_.executable(0)));
  frame.exit_rip = block.key.rip + detail.offset;
  if (options_.counts) frame.budget += detail.left;
  return 0;
}

u64 Jit::read_tsc(Frame* frame, u64, u64, const u8*) {
  return reinterpret_cast<Jit*>(frame->engine)->core_->guest_tsc();
}

}  // namespace
}  // namespace doppel::jit

namespace doppel {

std::string_view missing_for_translator(const x86::FeatureSet& host) {
  if (!host.has(x86::Feature::kAvx)) return "AVX";
  return host.has(x86::Feature::kBmi2) ? "" : "BMI2";
}

Result<std::unique_ptr<TranslatedCode>> create_translator(const TranslatorConfig& config) {
  const std::string_view missing = missing_for_translator(x86::host_features());
  if (!missing.empty()) {
    return fail("engine jit: this host's processor has no {}; use --engine interp", missing);
  }
  return std::make_unique<jit::Jit>(config, TRY(CodeBuffer::create(config.cache_bytes)));
}

}  // namespace doppel
