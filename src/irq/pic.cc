// Wiring of the two 8259A chips.
#include "irq/pic.h"

#include "base/verify.h"

namespace doppel {
namespace {

constexpr unsigned kCascadeLine = 2;
constexpr u8 kCascadeBit = 1u << kCascadeLine;

// Lines 0, 1, 2, 8 and 13 are always edge-triggered. 82371SB (PIIX3) data sheet, ELCR1 and ELCR2.
constexpr u8 kMasterLevelWritable = 0xf8;
constexpr u8 kSlaveLevelWritable = 0xde;

}  // namespace

PicPair::PicPair(InterruptLine& output)
    : output_(output),
      master_(kCascadeBit),
      slave_(0),
      master_ports_(*this, master_),
      slave_ports_(*this, slave_),
      elcr_ports_(*this) {
  for (unsigned i = 0; i < kLineCount; ++i) {
    lines_[i].owner = this;
    lines_[i].index = i;
  }
}

InterruptLine& PicPair::line(unsigned index) {
  VERIFY(index < kLineCount && index != kCascadeLine);
  return lines_[index];
}

Result<void> PicPair::map(AddressMap& ports) {
  TRY_VOID(ports.add(0x20, 2, master_ports_, "pic master"));
  TRY_VOID(ports.add(0xa0, 2, slave_ports_, "pic slave"));
  return ports.add(0x4d0, 2, elcr_ports_, "pic elcr");
}

void PicPair::reset() {
  master_.reset();
  slave_.reset();
  update();
}

void PicPair::set_line(unsigned index, bool is_high) {
  I8259& chip = index < 8 ? master_ : slave_;
  chip.set_line(index % 8, is_high);
  update();
}

// Propagates the slave's output to the master and the master's to the CPU.
void PicPair::update() {
  master_.set_line(kCascadeLine, slave_.has_request());
  output_.set_level(master_.has_request());
}

std::optional<u8> PicPair::acknowledge() {
  const bool is_requested = master_.has_request();
  const unsigned line = master_.acknowledge();
  u8 vector = master_.vector(line);
  if (is_requested && line == kCascadeLine) vector = slave_.vector(slave_.acknowledge());
  update();
  return vector;
}

u8 PicPair::ChipPorts::read_byte(u64 offset) {
  const u8 value = offset == 0 ? chip.read_command_port() : chip.read_data_port();
  owner.update();  // a poll acknowledges
  return value;
}

void PicPair::ChipPorts::write_byte(u64 offset, u8 value) {
  if (offset == 0) {
    chip.write_command_port(value);
  } else {
    chip.write_data_port(value);
  }
  owner.update();
}

u8 PicPair::ElcrPorts::read_byte(u64 offset) {
  return offset == 0 ? owner.master_.level_lines() : owner.slave_.level_lines();
}

void PicPair::ElcrPorts::write_byte(u64 offset, u8 value) {
  if (offset == 0) {
    owner.master_.set_level_lines(value & kMasterLevelWritable);
  } else {
    owner.slave_.set_level_lines(value & kSlaveLevelWritable);
  }
  owner.update();
}

void PicPair::visit_state(StateVisitor& visitor) {
  visitor.begin("pic");
  master_.visit_state(visitor, "master");
  slave_.visit_state(visitor, "slave");
  visitor.end();
}

}  // namespace doppel
