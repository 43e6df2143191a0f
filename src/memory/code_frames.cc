// Marks, grants, and the mail between vCPUs.
#include "memory/code_frames.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>
#include <utility>

#include "base/verify.h"

namespace doppel {
namespace {

constexpr unsigned kSpins = 100;
constexpr std::chrono::microseconds kPause{20};

constexpr u64 bit_of(unsigned user) { return user < 64 ? u64{1} << user : 0; }

}  // namespace

// Zero pages until they are used: a large guest's tables cost little.
CodeFrames::Table CodeFrames::make_table(u64 frames) {
  auto* bits = static_cast<Bits*>(std::calloc(frames, sizeof(Bits)));
  VERIFY(bits != nullptr);
  return Table(bits);
}

CodeFrames::CodeFrames(u64 frames)
    : frames_(frames), marks_(make_table(frames)), writers_(make_table(frames)) {}

CodeFrames::UserId CodeFrames::add_user(CodeFrameUser& user) {
  for (UserId id = 0; id < kMaxUsers; ++id) {
    Mailbox& box = mailboxes_[id];
    const std::lock_guard lock(box.mutex);
    if (box.user != nullptr) continue;
    box.user = &user;
    box.messages.clear();
    box.is_overfull = false;
    return id;
  }
  return kNobody;
}

void CodeFrames::remove_user(UserId user) {
  if (user == kNobody) return;
  for (u64 frame = 0; frame < frames_; ++frame) {
    if ((marks_[frame].load(std::memory_order_relaxed) & bit_of(user)) != 0) marks_[frame] &= ~bit_of(user);
    if ((writers_[frame].load(std::memory_order_relaxed) & bit_of(user)) != 0)
      writers_[frame] &= ~bit_of(user);
  }
  const std::lock_guard lock(mailboxes_[user].mutex);
  mailboxes_[user].user = nullptr;
}

void CodeFrames::mark(u64 frame, UserId user) {
  const u64 old = marks_[frame].load(std::memory_order_relaxed);
  if ((old & bit_of(user)) == 0) marks_[frame].fetch_or(bit_of(user));
  const u64 writers = writers_[frame].load();
  if (writers == 0) return;
  if ((writers & bit_of(user)) != 0) revoke(frame, user);
  if ((writers & ~bit_of(user)) != 0) revoke_others(frame, user);
}

void CodeFrames::unmark(u64 frame, UserId user) { marks_[frame].fetch_and(~bit_of(user)); }

bool CodeFrames::grant_write(u64 frame, UserId user) {
  if (is_watched(frame, user)) return false;
  const u64 old = writers_[frame].load(std::memory_order_relaxed);
  if ((old & bit_of(user)) == 0) writers_[frame].fetch_or(bit_of(user));
  // A mark made meanwhile either is seen here or sees the bit.
  return !is_watched(frame, user);
}

void CodeFrames::revoke(u64 frame, UserId user) {
  mailboxes_[user].user->revoke_writes(frame);
  writers_[frame].fetch_and(~bit_of(user));
}

// Makes the others drop their direct writes and waits until they have. Meanwhile this vCPU does the same for
// whoever waits for it.
void CodeFrames::revoke_others(u64 frame, UserId user) {
  struct Wait {
    UserId user;
    u64 number;
  };
  std::vector<Wait> waits;
  for (u64 rest = writers_[frame].load() & ~bit_of(user); rest != 0; rest &= rest - 1) {
    const UserId other = static_cast<UserId>(std::countr_zero(rest));
    const u64 number = post(other, {Topic::kRevoke, frame});
    if (number != 0) waits.push_back({other, number});
  }
  for (const Wait& wait : waits) {
    const Mailbox& box = mailboxes_[wait.user];
    for (unsigned spins = 0; box.handled.load() < wait.number && !box.is_outside.load(); ++spins) {
      handle_mail(user);
      // Not yield(): the one that is waited for may be held on this thread's CPU.
      if (spins > kSpins) std::this_thread::sleep_for(kPause);
    }
  }
}

u64 CodeFrames::post(UserId user, Message message) {
  Mailbox& box = mailboxes_[user];
  const std::lock_guard lock(box.mutex);
  if (box.user != nullptr) ++box.posted;  // first: without its mark, the user has mail
  if (message.topic == Topic::kWritten) unmark(message.frame, user);
  if (box.user == nullptr) return 0;
  const bool is_known = box.is_overfull || std::ranges::any_of(box.messages, [&](const Message& known) {
                          return known.topic == message.topic && known.frame == message.frame;
                        });
  if (!is_known && box.messages.size() == kMaxMessages) {
    box.is_overfull = true;
    box.messages.clear();
  } else if (!is_known) {
    box.messages.push_back(message);
  }
  if (box.is_inside) box.user->interrupt();
  return box.is_inside ? box.posted.load() : 0;
}

void CodeFrames::written(u64 frame, u64 start, u64 size, UserId writer) {
  const u64 own = bit_of(writer);
  for (u64 rest = marks_[frame].load() & ~own; rest != 0; rest &= rest - 1) {
    post(static_cast<UserId>(std::countr_zero(rest)), {Topic::kWritten, frame});
  }
  if (is_marked_by(frame, writer) || has_mail(writer)) {
    mailboxes_[writer].user->code_written(frame, start, size);
  }
}

void CodeFrames::enter(UserId user) {
  if (user == kNobody) return;
  Mailbox& box = mailboxes_[user];
  {
    const std::lock_guard lock(box.mutex);
    box.is_inside = true;
    box.is_outside = false;
  }
  handle_mail(user);
}

void CodeFrames::leave(UserId user) {
  if (user == kNobody) return;
  Mailbox& box = mailboxes_[user];
  const std::lock_guard lock(box.mutex);
  box.is_inside = false;
  box.is_outside = true;
}

void CodeFrames::handle_mail(UserId user) {
  Mailbox& box = mailboxes_[user];
  if (!has_mail(user)) return;
  std::vector<Message> messages;
  bool is_overfull = false;
  u64 number = 0;
  {
    const std::lock_guard lock(box.mutex);
    if (box.handled.load(std::memory_order_relaxed) == box.posted) return;
    messages.swap(box.messages);
    is_overfull = std::exchange(box.is_overfull, false);
    number = box.posted;
  }
  if (is_overfull) box.user->everything_written();
  for (const Message& message : messages) {
    if (message.topic == Topic::kRevoke) {
      revoke(message.frame, user);
    } else {
      box.user->code_written(message.frame, 0, 4096);
    }
  }
  box.handled = number;
}

}  // namespace doppel
