// Processes of both widths that take turns on the CPU: each computes what the other must answer.
#include <sys/wait.h>

#include "ia32.h"
#include "talk.h"

enum { kTrips = 500 };

struct conversation {
  pid_t child;
  int to, from;
  struct speaker expected;
};

// Starts the partner, or without one a process like this.
static struct conversation begin(const char* partner) {
  int to_child[2], from_child[2];
  stop_if(pipe(to_child) != 0 || pipe(from_child) != 0, "pipe");
  const pid_t child = fork();
  stop_if(child < 0, "fork");
  if (child == 0) {
    close(to_child[1]);
    close(from_child[0]);
    if (partner == NULL) _exit(answer_all(to_child[0], from_child[1]));
    dup2(to_child[0], STDIN_FILENO);
    dup2(from_child[1], STDOUT_FILENO);
    close(to_child[0]);
    close(from_child[1]);
    execl(partner, partner, (char*)NULL);
    _exit(127);
  }
  close(to_child[0]);
  close(from_child[1]);
  return (struct conversation){child, to_child[1], from_child[0], {1, 0}};
}

static uint64_t say(struct conversation* conversation, uint64_t word) {
  uint64_t answer = 0;
  stop_if(write(conversation->to, &word, sizeof word) != sizeof word, "write");
  stop_if(read(conversation->from, &answer, sizeof answer) != sizeof answer, "read");
  expect("answer", answer, answer_to(&conversation->expected, word));
  return answer;
}

static void end(const struct conversation* conversation) {
  int status = 0;
  close(conversation->to);
  close(conversation->from);
  stop_if(waitpid(conversation->child, &status, 0) != conversation->child, "waitpid");
  expect("a child's end", (unsigned)status, 0);
}

void talk_to(const char* partner) {
  struct conversation narrow = begin(NULL), wide = begin(partner);
  uint64_t word = 1;
  for (uint32_t i = 0; i < kTrips; i++) word = say(&narrow, say(&wide, word));
  end(&wide);
  end(&narrow);
}
