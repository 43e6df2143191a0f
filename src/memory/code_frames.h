// CodeFrames: which vCPU holds decoded instructions of which frame, and which may write a frame unseen.
#pragma once

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "base/types.h"

namespace doppel {

// What one vCPU's engine is to the others. Called on the vCPU's thread, but for interrupt().
class CodeFrameUser {
 public:
  virtual ~CodeFrameUser() = default;
  // Bytes [start, start + size) of the frame changed.
  virtual void code_written(u64 frame, u64 start, u64 size) = 0;
  // Another vCPU holds instructions of the frame now: no direct writes to it any more.
  virtual void revoke_writes(u64 frame) = 0;
  // Too much has changed to say what.
  virtual void everything_written() = 0;
  // Any thread: CodeFrames::handle_mail() is to be called before the next trace.
  virtual void interrupt() = 0;
};

// A vCPU that decodes instructions must hear of every later write to their frames. Stores through a software
// TLB go unseen, so a frame is either marked by the vCPUs that hold instructions of it, or direct writes to
// it are granted, never both for long: mark() makes all others give up theirs, and returns when they have.
// Whoever changes a marked frame tells so by written(), after the change; vCPUs other than the writer hear of
// it by mail at their next trace boundary. Owned by GuestMemory. Thread-safe; functions with a `user` on that
// vCPU's thread.
//
// Why nothing is missed: grant_write() and mark() each set their own bit first and look at the other side's
// then, so at least one of two that meet sees the other. written() takes the marks of others away and posts
// mail in one step: instructions decoded before the mail is handled die with it, and those decoded later saw
// the change.
class CodeFrames {
 public:
  using UserId = u32;
  static constexpr unsigned kMaxUsers = 64;
  static constexpr UserId kNobody = kMaxUsers;

  explicit CodeFrames(u64 frames);

  // Before anything runs, and when nothing does. kNobody when there are too many.
  UserId add_user(CodeFrameUser& user);
  void remove_user(UserId user);

  u64 frame_count() const { return frames_; }
  bool is_marked(u64 frame) const { return marks_[frame].load(std::memory_order_relaxed) != 0; }

  bool is_marked_by(u64 frame, UserId user) const {
    return user < kMaxUsers && (marks_[frame].load(std::memory_order_relaxed) >> user & 1) != 0;
  }

  // The user is about to decode instructions of the frame. Handles mail while it waits for others, so that
  // the mark may be gone again.
  void mark(u64 frame, UserId user);
  void unmark(u64 frame, UserId user);

  // May the user write the frame directly, from now on until revoke_writes()? Not before it has handled its
  // mail: another's write took its mark away, and it may still hold instructions of the frame.
  bool grant_write(u64 frame, UserId user);

  // Is written() to be told when `writer` changes the frame? Also while the writer has mail.
  bool is_watched(u64 frame, UserId writer) const { return is_marked(frame) || has_mail(writer); }
  // Bytes [start, start + size) of a frame for which is_watched() holds have changed. `writer`, if it is a
  // user, hears of it at once.
  void written(u64 frame, u64 start, u64 size, UserId writer);

  // Between these two the user executes; outside them nobody waits for it. enter() handles mail.
  void enter(UserId user);
  void leave(UserId user);
  void handle_mail(UserId user);

 private:
  using Bits = std::atomic<u64>;
  struct Free {
    void operator()(Bits* bits) const { std::free(bits); }
  };
  using Table = std::unique_ptr<Bits[], Free>;
  static Table make_table(u64 frames);
  enum class Topic : u8 { kWritten, kRevoke };
  struct Message {
    Topic topic;
    u64 frame;
  };
  struct Mailbox {
    std::mutex mutex;
    CodeFrameUser* user = nullptr;
    std::vector<Message> messages;
    bool is_overfull = false;  // instead of messages: everything changed
    bool is_inside = false;
    std::atomic<u64> posted = 0;
    std::atomic<u64> handled = 0;
    std::atomic<bool> is_outside = true;  // !is_inside, for those who wait
  };
  static constexpr std::size_t kMaxMessages = 256;

  bool has_mail(UserId user) const {
    if (user >= kMaxUsers) return false;
    const Mailbox& box = mailboxes_[user];
    return box.handled.load(std::memory_order_relaxed) != box.posted.load(std::memory_order_relaxed);
  }
  // What the receiver will have handled once `handled` reaches the result; 0 when nobody needs to wait.
  u64 post(UserId user, Message message);
  void revoke_others(u64 frame, UserId user);
  void revoke(u64 frame, UserId user);

  u64 frames_;
  Table marks_;    // by frame: bit i: user i holds instructions
  Table writers_;  // by frame: bit i: user i may write directly
  Mailbox mailboxes_[kMaxUsers];
};

}  // namespace doppel
