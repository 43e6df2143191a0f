// The 64-bit process that a 32-bit one talks to over its standard input and output.
#include "talk.h"

int main(void) { return answer_all(STDIN_FILENO, STDOUT_FILENO); }
