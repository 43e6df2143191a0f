// Talks over vsock in a guest: `vsock echo PORT` echoes one connection, `vsock send CID PORT TEXT` prints the
// answer.
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_vm address_of(unsigned cid, unsigned port) {
  struct sockaddr_vm address;
  memset(&address, 0, sizeof(address));
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

static int fail(const char* what) {
  perror(what);
  return 1;
}

static int echo(unsigned port) {
  const struct sockaddr_vm address = address_of(VMADDR_CID_ANY, port);
  const int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (bind(listener, (const struct sockaddr*)&address, sizeof(address)) != 0) return fail("bind");
  if (listen(listener, 1) != 0) return fail("listen");
  printf("vsock: listening\n");
  fflush(stdout);
  const int peer = accept(listener, NULL, NULL);
  static char data[65536];
  ssize_t size;
  while ((size = read(peer, data, sizeof(data))) > 0) {
    for (ssize_t done = 0; done < size;) {
      const ssize_t written = write(peer, data + done, size - done);
      if (written <= 0) return fail("write");
      done += written;
    }
  }
  return size == 0 ? 0 : fail("read");
}

static int talk(unsigned cid, unsigned port, const char* text) {
  const struct sockaddr_vm address = address_of(cid, port);
  const int peer = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (connect(peer, (const struct sockaddr*)&address, sizeof(address)) != 0) return fail("connect");
  if (write(peer, text, strlen(text)) < 0) return fail("write");
  char answer[256];
  const ssize_t size = read(peer, answer, sizeof(answer) - 1);
  if (size <= 0) return fail("read");
  answer[size] = 0;
  printf("vsock: %s\n", answer);
  return 0;
}

int main(int count, char** words) {
  if (count == 3 && strcmp(words[1], "echo") == 0) return echo(strtoul(words[2], NULL, 10));
  if (count == 5 && strcmp(words[1], "send") == 0) {
    return talk(strtoul(words[2], NULL, 10), strtoul(words[3], NULL, 10), words[4]);
  }
  return 2;
}
