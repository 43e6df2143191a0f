// Entry point of the doppel binary.
int main() { return 0; }
