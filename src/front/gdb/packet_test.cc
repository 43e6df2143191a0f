// Packets in a stream of bytes.
#include "front/gdb/packet.h"

#include <gtest/gtest.h>

#include <optional>

namespace doppel::gdb {
namespace {

class PacketReaderTest : public testing::Test {
 protected:
  // The first arrival in `text`, which continues what came before.
  std::optional<Arrival> read(std::string_view text) {
    std::span<const u8> bytes(reinterpret_cast<const u8*>(text.data()), text.size());
    Arrival arrival;
    return reader_.next(bytes, arrival) ? std::optional(arrival) : std::nullopt;
  }
  std::string payload(std::string_view text) {
    const std::optional<Arrival> arrival = read(text);
    const bool is_packet = arrival && std::holds_alternative<Packet>(*arrival);
    return is_packet ? std::get<Packet>(*arrival).payload : "no packet";
  }

  PacketReader reader_;
};

TEST_F(PacketReaderTest, FindsAPacket) { EXPECT_EQ(payload("$OK#9a"), "OK"); }

TEST_F(PacketReaderTest, PacketMayComeInPieces) {
  EXPECT_FALSE(read("$O"));
  EXPECT_FALSE(read("K#9"));
  EXPECT_EQ(payload("a"), "OK");
}

TEST_F(PacketReaderTest, WrongChecksumIsDamage) {
  EXPECT_TRUE(std::holds_alternative<DamagedPacket>(*read("$OK#9b")));
}

TEST_F(PacketReaderTest, ChecksumThatIsNoNumberIsDamage) {
  EXPECT_TRUE(std::holds_alternative<DamagedPacket>(*read("$OK#zz")));
}

TEST_F(PacketReaderTest, NextPacketAfterDamageIsWhole) {
  read("$bad#00");
  EXPECT_EQ(payload("$OK#9a"), "OK");
}

TEST_F(PacketReaderTest, EscapedBytesAreThemselvesAgain) {
  const std::string packet = encode_packet("a$b#c}d*e");
  EXPECT_EQ(packet.find('*'), std::string::npos);
  EXPECT_EQ(payload(packet), "a$b#c}d*e");
}

TEST_F(PacketReaderTest, NewPacketReplacesOneThatWasCutOff) { EXPECT_EQ(payload("$garbage$OK#9a"), "OK"); }

TEST_F(PacketReaderTest, TooLongAPayloadIsDamageAndNotKept) {
  EXPECT_FALSE(read("$" + std::string(3 * kMaxPayload, 'a')));
  EXPECT_TRUE(std::holds_alternative<DamagedPacket>(*read("#00")));
  EXPECT_EQ(payload("$OK#9a"), "OK");
}

TEST_F(PacketReaderTest, BytesBetweenPacketsHaveTheirMeanings) {
  EXPECT_TRUE(std::holds_alternative<Acknowledgement>(*read("+")));
  EXPECT_TRUE(std::holds_alternative<Rejection>(*read("-")));
  EXPECT_TRUE(std::holds_alternative<Interruption>(*read("\x03")));
  EXPECT_FALSE(read("xyz"));
}

TEST_F(PacketReaderTest, InterruptByteInsideAPayloadIsData) { EXPECT_EQ(payload("$\x03#03"), "\x03"); }

}  // namespace
}  // namespace doppel::gdb
