// Fuzzes GDB's remote protocol: framing, and every packet against a machine that only remembers.
#include "front/gdb/fake_debug_machine.h"
#include "front/gdb/packet.h"
#include "front/gdb/session.h"

namespace doppel::gdb {
namespace {

// Feeds what arrives to the session as the server does; each Ctrl-C is preceded by a stop of the machine's
// own.
struct Peer {
  FakeDebugMachine machine;
  std::size_t answered = 0;
  Session session{machine.port(),
                  [this](std::string_view payload) { answered += encode_packet(payload).size(); }};

  bool take(const Arrival& arrival) {
    if (const auto* packet = std::get_if<Packet>(&arrival))
      return session.handle(packet->payload) != After::kClose;
    if (!std::holds_alternative<Interruption>(arrival)) return true;
    const DebugHit hit{DebugCause::kWatchpoint, GuestVirt(0x1000), true};
    session.stopped({.is_end = false, .cpu = 1, .hit = hit});
    session.interrupt();
    return true;
  }
};

}  // namespace
}  // namespace doppel::gdb

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  doppel::gdb::Peer peer;
  doppel::gdb::PacketReader reader;
  doppel::gdb::Arrival arrival;
  std::span<const doppel::u8> bytes(data, size);
  while (reader.next(bytes, arrival) && peer.take(arrival)) {
  }
  // A payload without its framing, so that the fuzzer need not find checksums.
  doppel::gdb::Peer unframed;
  unframed.session.handle({reinterpret_cast<const char*>(data), size});
  return 0;
}
