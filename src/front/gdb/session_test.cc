// GDB's packets against a machine that only remembers.
#include "front/gdb/session.h"

#include <gtest/gtest.h>

#include "front/gdb/fake_debug_machine.h"
#include "front/gdb/packet.h"
#include "front/gdb/registers.h"

namespace doppel::gdb {
namespace {

class SessionTest : public testing::Test {
 protected:
  // The last reply to a packet, "nothing" when there was none.
  std::string ask(std::string_view payload) {
    replies_.clear();
    after_ = session_.handle(payload);
    return last();
  }
  std::string last() const { return replies_.empty() ? "nothing" : replies_.back(); }
  void hit(DebugCause cause, u64 address, unsigned cpu = 0) {
    replies_.clear();
    after_ = session_.stopped({.is_end = false, .cpu = cpu, .hit = {cause, GuestVirt(address)}});
  }
  static unsigned number_of(std::string_view name) {
    const auto found = std::ranges::find(registers(), name, &Register::name);
    return static_cast<unsigned>(found - registers().begin());
  }
  static std::string number_text(std::string_view name) { return to_hex_number(number_of(name)); }
  static std::string to_hex_number(unsigned value) { return fmt::format("{:x}", value); }

  FakeDebugMachine machine_;
  std::vector<std::string> replies_;
  Session session_{machine_.port(), [this](std::string_view payload) { replies_.emplace_back(payload); }};
  After after_ = After::kGoOn;
};

TEST_F(SessionTest, BeginsStopped) { EXPECT_EQ(ask("?"), "T05thread:1;"); }

TEST_F(SessionTest, UnknownPacketsGetAnEmptyAnswer) {
  EXPECT_EQ(ask("vMustReplyEmpty"), "");
  EXPECT_EQ(ask("qNobodyKnowsThis"), "");
  EXPECT_EQ(ask("_"), "");
}

TEST_F(SessionTest, AnnouncesItsPacketSize) {
  EXPECT_NE(ask("qSupported:swbreak+").find("PacketSize=4000"), std::string::npos);
}

TEST_F(SessionTest, ThreadsAreCpus) {
  EXPECT_EQ(ask("qfThreadInfo"), "m1,2");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("T2"), "OK");
  EXPECT_EQ(ask("T3"), "E01");
  EXPECT_EQ(ask("qThreadExtraInfo,2"), to_hex(std::string_view("CPU 1 [running]")));
}

TEST_F(SessionTest, RegistersAreThoseOfTheSelectedThread) {
  machine_.registers[1].cpu.rip = 0x1122334455667788;
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("p" + number_text("rip")), "8877665544332211");
  EXPECT_EQ(ask("Hg7"), "E01");
}

TEST_F(SessionTest, GIsAllRegistersInOrder) {
  machine_.registers[0].cpu.gpr[x86::kRax] = 0xa5;
  const std::string all = ask("g");
  EXPECT_EQ(all.substr(0, 16), "a500000000000000");
  std::size_t bytes = 0;
  for (const Register& one : registers()) bytes += one.bytes();
  EXPECT_EQ(all.size(), 2 * bytes);
  EXPECT_EQ(ask("G" + all), "OK");
}

TEST_F(SessionTest, WritesARegister) {
  EXPECT_EQ(ask("P" + number_text("rbx") + "=efcdab8967452301"), "OK");
  EXPECT_EQ(machine_.registers[0].cpu.gpr[x86::kRbx], 0x0123456789abcdefu);
}

TEST_F(SessionTest, RefusesRegistersThatWouldBreakTheCpu) {
  EXPECT_EQ(ask("P" + number_text("cr0") + "=ffffffffffffffff"), "E02");
  EXPECT_EQ(ask("P" + number_text("cs") + "=ffff0000"), "E02");
  EXPECT_EQ(ask("P" + number_text("mxcsr") + "=ffffffff"), "E02");
  EXPECT_EQ(ask("P" + number_text("gs_base") + "=0000000000000070"), "E02");
  EXPECT_EQ(machine_.registers[0].cpu.cr0, 0u);
}

TEST_F(SessionTest, RefusesMalformedRegisterPackets) {
  EXPECT_EQ(ask("p"), "E01");
  EXPECT_EQ(ask("pffff"), "E01");
  EXPECT_EQ(ask("P0"), "E01");
  EXPECT_EQ(ask("P0=12"), "E01");
  EXPECT_EQ(ask("P0=123456789abcdefg"), "E01");
  EXPECT_EQ(ask("G00"), "E01");
}

TEST_F(SessionTest, ReadsMemory) {
  machine_.memory[0] = 0x12;
  machine_.memory[1] = 0x34;
  EXPECT_EQ(ask("m10000,2"), "1234");
}

TEST_F(SessionTest, ReadsAsMuchMemoryAsThereIs) {
  EXPECT_EQ(ask("m10ffe,100"), "0000");
  EXPECT_EQ(ask("m11000,1"), "E14");
}

TEST_F(SessionTest, HugeLengthsAreCutOrRefused) {
  EXPECT_EQ(ask("m10000,ffffffffffffffff").size(), 2 * kPageSize);
  EXPECT_EQ(ask("m10000,11111111111111111"), "E01");
  EXPECT_EQ(ask("M10000,ffffffffffffffff:00"), "E01");
  EXPECT_EQ(ask("mffffffffffffffff,2"), "E14");
}

TEST_F(SessionTest, WritesMemoryInHexAndInBytes) {
  EXPECT_EQ(ask("M10000,2:beef"), "OK");
  EXPECT_EQ(ask("X10002,2:ab"), "OK");
  EXPECT_EQ(ask("X10000,0:"), "OK");
  EXPECT_EQ(machine_.memory[0], 0xbe);
  EXPECT_EQ(machine_.memory[3], 'b');
}

TEST_F(SessionTest, BreakpointsAndWatchpointsReachTheMachine) {
  EXPECT_EQ(ask("Z0,1000,1"), "OK");
  EXPECT_EQ(ask("Z1,2000,1"), "OK");
  EXPECT_EQ(ask("Z2,3000,8"), "OK");
  const DebugControl wanted{.breakpoints = {GuestVirt(0x1000), GuestVirt(0x2000)},
                            .watchpoints = {{GuestVirt(0x3000), 8, false, true}}};
  EXPECT_EQ(machine_.stops, wanted);
  EXPECT_EQ(ask("z0,1000,1"), "OK");
  EXPECT_EQ(machine_.stops.breakpoints.size(), 1u);
}

TEST_F(SessionTest, RefusedStopsAreForgotten) {
  machine_.refuses_stops = true;
  EXPECT_EQ(ask("Z0,1000,1"), "E01");
  machine_.refuses_stops = false;
  EXPECT_EQ(ask("Z0,2000,1"), "OK");
  EXPECT_EQ(machine_.stops.breakpoints, std::vector{GuestVirt(0x2000)});
}

TEST_F(SessionTest, RefusesStopsThatCannotBe) {
  EXPECT_EQ(ask("Z2,1000,0"), "E01");
  EXPECT_EQ(ask("Z2,1000,ffffffffffffffff"), "E01");
  EXPECT_EQ(ask("Z2,ffffffffffffffff,8"), "E01");
  EXPECT_EQ(ask("Z5,1000,1"), "");
  EXPECT_EQ(ask("Z0,"), "E01");
}

TEST_F(SessionTest, ContinuesUntilABreakpoint) {
  ask("qSupported:swbreak+");
  ask("Z0,1000,1");
  EXPECT_EQ(ask("vCont;c"), "nothing");
  EXPECT_EQ(machine_.motions, (std::vector{DebugMotion::kContinue, DebugMotion::kContinue}));
  hit(DebugCause::kBreakpoint, 0x1000, 1);
  EXPECT_EQ(last(), "T05thread:2;swbreak:;");
}

TEST_F(SessionTest, StepsOneThreadWhileOthersHoldOrRun) {
  EXPECT_EQ(ask("vCont;s:2"), "nothing");
  EXPECT_EQ(machine_.motions, (std::vector{DebugMotion::kHold, DebugMotion::kStep}));
  hit(DebugCause::kStep, 0, 1);
  EXPECT_EQ(last(), "T05thread:2;");
  EXPECT_EQ(ask("vCont;s:1;c"), "nothing");
  EXPECT_EQ(machine_.motions, (std::vector{DebugMotion::kStep, DebugMotion::kContinue}));
}

TEST_F(SessionTest, OldResumingPacketsWork) {
  machine_.cpus = 1;
  ask("s2000");
  EXPECT_EQ(machine_.registers[0].cpu.rip, 0x2000u);
  EXPECT_EQ(machine_.motions, (std::vector{DebugMotion::kStep, DebugMotion::kHold}));
  hit(DebugCause::kStep, 0);
  ask("c");
  EXPECT_EQ(machine_.motions, (std::vector{DebugMotion::kContinue, DebugMotion::kContinue}));
}

TEST_F(SessionTest, MalformedResumesAreRefused) {
  EXPECT_EQ(ask("vCont;"), "E01");
  EXPECT_EQ(ask("vCont;x"), "E01");
  EXPECT_EQ(ask("vCont;c:9"), "E01");
  EXPECT_FALSE(session_.is_running());
}

TEST_F(SessionTest, WatchpointHitsNameTheirAddress) {
  ask("Z4,3000,8");
  ask("c");
  hit(DebugCause::kWatchpoint, 0x3000);
  EXPECT_EQ(last(), "T05thread:1;awatch:3000;");
}

TEST_F(SessionTest, InterruptStopsARunningMachineOnce) {
  ask("c");
  session_.interrupt();
  EXPECT_EQ(last(), "T02thread:1;");
  EXPECT_EQ(machine_.pauses, 1u);
  session_.interrupt();
  EXPECT_EQ(machine_.pauses, 1u);
}

TEST_F(SessionTest, StopThatCrossedAnInterruptIsNotReportedTwice) {
  ask("c");
  session_.interrupt();
  hit(DebugCause::kBreakpoint, 0x1000);
  EXPECT_EQ(last(), "nothing");
}

TEST_F(SessionTest, PacketsWhileRunningGetNoAnswer) {
  ask("c");
  EXPECT_EQ(ask("g"), "nothing");
  EXPECT_EQ(ask("m10000,4"), "nothing");
}

TEST_F(SessionTest, EndOfTheMachineIsReported) {
  ask("c");
  EXPECT_EQ(session_.stopped({.is_end = true}), After::kClose);
  EXPECT_EQ(last(), "W00");
}

TEST_F(SessionTest, DetachLetsTheMachineGo) {
  EXPECT_EQ(ask("D"), "OK");
  EXPECT_EQ(after_, After::kClose);
  EXPECT_TRUE(machine_.is_detached);
}

TEST_F(SessionTest, KillEndsTheMachine) {
  ask("k");
  EXPECT_TRUE(machine_.has_quit);
  EXPECT_EQ(after_, After::kClose);
}

TEST_F(SessionTest, TargetDescriptionComesInParts) {
  const std::string first = ask("qXfer:features:read:target.xml:0,40");
  EXPECT_EQ(first.front(), 'm');
  EXPECT_EQ(first.size(), 0x41u);
  EXPECT_EQ(ask("qXfer:features:read:target.xml:ffffffff,40"), "l");
  EXPECT_EQ(ask("qXfer:features:read:other.xml:0,40"), "E00");
  EXPECT_EQ(ask("qXfer:features:read:target.xml:0"), "E01");
}

TEST_F(SessionTest, DescriptionNamesEveryRegister) {
  const std::string& text = target_description();
  EXPECT_NE(text.find("name=\"ymm15h\""), std::string::npos);
  EXPECT_NE(text.find("name=\"k_gs_base\""), std::string::npos);
  EXPECT_NE(text.find("name=\"cr8\""), std::string::npos);
  EXPECT_NE(text.find("org.gnu.gdb.i386.segments"), std::string::npos);
}

TEST_F(SessionTest, MonitorPrintsReportsOfTheSelectedThread) {
  ask("Hg2");
  EXPECT_EQ(ask("qRcmd," + to_hex(std::string_view("info exits"))), "OK");
  ASSERT_EQ(replies_.size(), 2u);
  EXPECT_EQ(replies_[0], "O" + to_hex(std::string_view("report on CPU 1\n")));
}

TEST_F(SessionTest, MonitorExplainsItself) {
  EXPECT_EQ(ask("qRcmd," + to_hex(std::string_view("what"))), "OK");
  EXPECT_EQ(replies_.size(), 2u);
  EXPECT_EQ(ask("qRcmd,xyz"), "E01");
}

TEST(GdbRegisters, X87TagsSurviveTheRoundTrip) {
  DebugRegisters values;
  values.cpu.fx.ftw = 0x81;
  values.cpu.fx.fsw = 0x3800;  // top of stack: 7
  values.cpu.fx.st[0][7] = 0x80;
  values.cpu.fx.st[0][8] = 1;  // physical 7 holds a normal number, physical 0 a zero
  const auto tags = std::ranges::find(registers(), "ftag", &Register::name);
  EXPECT_EQ(read_register(values, *tags), (std::vector<u8>{0xfd, 0x3f, 0, 0}));
  EXPECT_TRUE(write_register(values, *tags, std::vector<u8>{0xff, 0x3f, 0, 0}));
  EXPECT_EQ(values.cpu.fx.ftw, 0x80);
}

}  // namespace
}  // namespace doppel::gdb
