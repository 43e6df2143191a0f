// The programs, and their code.
#include "tests/litmus/program.h"

#include <initializer_list>

namespace doppel::litmus {
namespace {

class Writer {
 public:
  void put(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) code_.push_back(static_cast<u8>(byte));
  }
  void put32(u64 value) {
    for (unsigned shift = 0; shift < 32; shift += 8) code_.push_back(static_cast<u8>(value >> shift));
  }
  u64 position() const { return code_.size(); }
  std::vector<u8> take() { return std::move(code_); }

  // R14 is the slot's offset. Loads go to EAX, then to EDX.
  void step(Step step) {
    switch (step) {
      case Step::kStoreX:
      case Step::kStoreY:
        put({0x41, 0xc7, 0x86});
        put32(step == Step::kStoreX ? kX : kY);
        put32(1);
        break;
      case Step::kLoadX:
      case Step::kLoadY:
        put({0x41, 0x8b, loads_++ == 0 ? 0x86u : 0x96u});
        put32(step == Step::kLoadX ? kX : kY);
        break;
      case Step::kExchangeX:
      case Step::kExchangeY:
        put({0xb9, 1, 0, 0, 0, 0x41, 0x87, 0x8e});  // mov ecx, 1; xchg [r14 + ..], ecx
        put32(step == Step::kExchangeX ? kX : kY);
        break;
      case Step::kFence:
        put({0x0f, 0xae, 0xf0});
        break;
      case Step::kLocked:
        put({0xf0, 0x83, 0x04, 0x24, 0});  // lock add dword [rsp], 0
        break;
    }
  }

 private:
  std::vector<u8> code_;
  unsigned loads_ = 0;
};

bool both_saw_nothing(const Outcome& seen) { return seen.first[0] == 0 && seen.first[1] == 0; }
bool flag_without_message(const Outcome& seen) { return seen.first[1] == 1 && seen.second[1] == 0; }
bool both_saw_the_future(const Outcome& seen) { return seen.first[0] == 1 && seen.first[1] == 1; }
bool readers_disagree(const Outcome& seen) {
  return seen.first[2] == 1 && seen.second[2] == 0 && seen.first[3] == 1 && seen.second[3] == 0;
}
bool own_store_is_not_seen(const Outcome& seen) { return seen.first[0] == 0 || seen.first[1] == 0; }

}  // namespace

std::vector<u8> assemble(const Program& program, unsigned processor) {
  Writer writer;
  writer.put({0x45, 0x31, 0xf6, 0xf0, 0xff, 0x04, 0x25});  // xor r14d, r14d; lock inc dword [gate]
  writer.put32(kGate);
  writer.put({0xf3, 0x90, 0x83, 0x3c, 0x25});  // again: pause; cmp dword [gate], processors
  writer.put32(kGate);
  writer.put({static_cast<unsigned>(program.processors.size()), 0x72, 0xf4});  // jb again
  const u64 body = writer.position();
  writer.put({0x31, 0xc0, 0x31, 0xd2});  // xor eax, eax; xor edx, edx
  for (const Step step : program.processors[processor]) writer.step(step);
  writer.put({0x41, 0x89, 0x86});  // mov [r14 + seen], eax
  writer.put32(kSeen + processor * 16);
  writer.put({0x41, 0x89, 0x96});
  writer.put32(kSeen + processor * 16 + 8);
  writer.put({0x41, 0x83, 0xc6, kSlotBytes, 0x41, 0x81, 0xfe});  // add r14d, 64; cmp r14d, ..; jb body
  writer.put32(kSlots * kSlotBytes);
  writer.put({0x0f, 0x82});
  writer.put32(body - (writer.position() + 4));
  writer.put({0xf4});
  return writer.take();
}

const std::vector<Program>& programs() {
  using enum Step;
  static const std::vector<Program> all = {
      {"StoreBuffering", {{kStoreX, kLoadY}, {kStoreY, kLoadX}}, &both_saw_nothing, false},
      {"StoreBufferingFence",
       {{kStoreX, kFence, kLoadY}, {kStoreY, kFence, kLoadX}},
       &both_saw_nothing,
       true},
      {"StoreBufferingLocked",
       {{kStoreX, kLocked, kLoadY}, {kStoreY, kLocked, kLoadX}},
       &both_saw_nothing,
       true},
      {"StoreBufferingExchange", {{kExchangeX, kLoadY}, {kExchangeY, kLoadX}}, &both_saw_nothing, true},
      {"StoreForwarding", {{kStoreX, kLoadX}, {kStoreY, kLoadY}}, &own_store_is_not_seen, true},
      {"MessagePassing", {{kStoreX, kStoreY}, {kLoadY, kLoadX}}, &flag_without_message, true},
      {"MessagePassingLocked",
       {{kExchangeX, kExchangeY}, {kLoadY, kLocked, kLoadX}},
       &flag_without_message,
       true},
      {"MessagePassingFence",
       {{kStoreX, kFence, kStoreY}, {kLoadY, kFence, kLoadX}},
       &flag_without_message,
       true},
      {"LoadBuffering", {{kLoadX, kStoreY}, {kLoadY, kStoreX}}, &both_saw_the_future, true},
      {"LoadBufferingLocked", {{kLoadX, kExchangeY}, {kLoadY, kExchangeX}}, &both_saw_the_future, true},
      {"LoadBufferingFence",
       {{kLoadX, kFence, kStoreY}, {kLoadY, kFence, kStoreX}},
       &both_saw_the_future,
       true},
      {"IndependentReads",
       {{kStoreX}, {kStoreY}, {kLoadX, kLoadY}, {kLoadY, kLoadX}},
       &readers_disagree,
       true},
      {"IndependentReadsLocked",
       {{kExchangeX}, {kExchangeY}, {kLoadX, kLocked, kLoadY}, {kLoadY, kLocked, kLoadX}},
       &readers_disagree,
       true},
      {"IndependentReadsFence",
       {{kStoreX}, {kStoreY}, {kLoadX, kFence, kLoadY}, {kLoadY, kFence, kLoadX}},
       &readers_disagree,
       true},
  };
  return all;
}

}  // namespace doppel::litmus
