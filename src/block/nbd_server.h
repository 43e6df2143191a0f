// An nbdkit of a test's own.
#pragma once

#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "block/block_bench.h"

namespace doppel {

// Serves on a socket in its own folder until it is destroyed. `arguments`: plugin, filters, parameters.
class NbdServer {
 public:
  explicit NbdServer(std::vector<std::string> arguments) {
    // Written once it listens; the socket is there earlier.
    const std::string ready = folder_ / "ready";
    std::vector<std::string> words = {"nbdkit", "--foreground", "--exit-with-parent", "-U", socket(),
                                      "-P",     ready};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    if (::posix_spawnp(&pid_, "nbdkit", nullptr, nullptr, pointers.data(), environ) != 0) pid_ = -1;
    struct stat status = {};
    for (int i = 0; i < 500 && pid_ > 0 && ::stat(ready.c_str(), &status) != 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  ~NbdServer() { kill(); }
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  bool is_installed() const { return pid_ > 0; }
  bool is_running() const { return pid_ > 0 && ::access(socket().c_str(), F_OK) == 0; }
  std::string socket() const { return folder_ / "socket"; }
  std::string uri() const { return "nbd+unix:///?socket=" + socket(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  TemporaryFolder folder_;
  pid_t pid_ = -1;
};

}  // namespace doppel
