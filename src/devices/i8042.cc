// Command set of the keyboard controller.
#include "devices/i8042.h"

#include "base/log.h"

namespace doppel {

namespace {

constexpr u8 kStatusOutputFull = 1 << 0;
constexpr u8 kStatusSystem = 1 << 2;
constexpr u8 kStatusCommand = 1 << 3;
constexpr u8 kStatusNotLocked = 1 << 4;
constexpr u8 kStatusFromMouse = 1 << 5;
constexpr u8 kStatusTimeout = 1 << 6;

constexpr u8 kCommandByteKeyboardInterrupt = 1 << 0;
constexpr u8 kCommandByteMouseInterrupt = 1 << 1;
constexpr u8 kCommandByteSystem = 1 << 2;
constexpr u8 kCommandByteKeyboardOff = 1 << 4;
constexpr u8 kCommandByteMouseOff = 1 << 5;
constexpr u8 kCommandByteTranslate = 1 << 6;
// As firmware leaves it after its self test, interrupts off.
constexpr u8 kResetCommandByte = kCommandByteSystem | kCommandByteTranslate;

constexpr u8 kReadMemory = 0x20;   // 0x20..0x3f
constexpr u8 kWriteMemory = 0x60;  // 0x60..0x7f
constexpr u8 kDisableMouse = 0xa7;
constexpr u8 kEnableMouse = 0xa8;
constexpr u8 kTestMouse = 0xa9;
constexpr u8 kSelfTest = 0xaa;
constexpr u8 kTestKeyboard = 0xab;
constexpr u8 kDisableKeyboard = 0xad;
constexpr u8 kEnableKeyboard = 0xae;
constexpr u8 kReadInputPort = 0xc0;
constexpr u8 kReadOutputPort = 0xd0;
constexpr u8 kWriteOutputPort = 0xd1;
constexpr u8 kLoopKeyboard = 0xd2;
constexpr u8 kLoopMouse = 0xd3;
constexpr u8 kWriteToMouse = 0xd4;
constexpr u8 kDisableA20 = 0xdd;
constexpr u8 kEnableA20 = 0xdf;
constexpr u8 kReadTestInputs = 0xe0;
constexpr u8 kPulseOutputPort = 0xf0;  // 0xf0..0xff

constexpr u8 kSelfTestPassed = 0x55;
constexpr u8 kPortTestPassed = 0x00;
constexpr u8 kInputPortIdle = 0x80;  // keyboard not locked
constexpr u8 kDeviceResend = 0xfe;

constexpr u8 kOutputPortNotReset = 1 << 0;
constexpr u8 kOutputPortA20 = 1 << 1;

}  // namespace

I8042::I8042(InterruptLine& keyboard_interrupt, InterruptLine& mouse_interrupt, MachineControl& machine)
    : keyboard_interrupt_(keyboard_interrupt), mouse_interrupt_(mouse_interrupt), machine_(machine) {
  reset();
}

void I8042::reset() {
  memory_ = {};
  memory_[0] = kResetCommandByte;
  queue_ = {};
  head_ = count_ = last_data_ = pending_command_ = 0;
  was_command_ = false;
  is_a20_enabled_ = true;
  update_interrupts();
}

void I8042::read(u64 offset, std::span<u8> data) {
  store_le(data, offset == kDataOffset ? read_data() : status());
}

void I8042::write(u64 offset, std::span<const u8> data) {
  was_command_ = offset == kCommandOffset;
  if (was_command_) return run_command(data[0]);
  write_data(data[0]);
}

u8 I8042::status() const {
  return (count_ != 0 ? kStatusOutputFull : 0) |
         ((memory_[0] & kCommandByteSystem) != 0 ? kStatusSystem : 0) | (was_command_ ? kStatusCommand : 0) |
         kStatusNotLocked | front_status();
}

u8 I8042::read_data() {
  if (count_ == 0) return last_data_;
  last_data_ = queue_[head_].data;
  head_ = (head_ + 1) % kQueueSize;
  --count_;
  // The buffer empties before the next answer fills it, so a line that was high falls first.
  keyboard_interrupt_.set_level(false);
  mouse_interrupt_.set_level(false);
  update_interrupts();
  return last_data_;
}

void I8042::write_data(u8 value) {
  const u8 command = pending_command_;
  pending_command_ = 0;
  if (command != 0) return finish_command(command, value);
  memory_[0] &= static_cast<u8>(~kCommandByteKeyboardOff);  // sending to the keyboard enables its clock
  answer(kDeviceResend, kStatusTimeout);
}

void I8042::run_command(u8 command) {
  pending_command_ = 0;
  if (command >= kReadMemory && command < kReadMemory + memory_.size()) {
    return answer(memory_[command - kReadMemory]);
  }
  if (command >= kWriteMemory && command < kWriteMemory + memory_.size()) {
    pending_command_ = command;
    return;
  }
  if (command >= kPulseOutputPort) {
    // Bits 0..3 low pulse the output port's lines; line 0 is the processor's reset.
    if ((command & 1) == 0) machine_.request_stop(StopReason::kReset, 0);
    return;
  }
  run_port_command(command);
}

void I8042::run_port_command(u8 command) {
  u8& command_byte = memory_[0];
  switch (command) {
    case kDisableMouse:
      command_byte |= kCommandByteMouseOff;
      break;
    case kEnableMouse:
      command_byte &= static_cast<u8>(~kCommandByteMouseOff);
      break;
    case kDisableKeyboard:
      command_byte |= kCommandByteKeyboardOff;
      break;
    case kEnableKeyboard:
      command_byte &= static_cast<u8>(~kCommandByteKeyboardOff);
      break;
    case kSelfTest:
      command_byte |= kCommandByteSystem;
      return answer(kSelfTestPassed);
    case kTestMouse:
    case kTestKeyboard:
      return answer(kPortTestPassed);
    case kReadInputPort:
      return answer(kInputPortIdle);
    case kReadOutputPort:
      return answer(output_port());
    case kReadTestInputs:
      return answer(0);
    case kDisableA20:
      is_a20_enabled_ = false;
      break;
    case kEnableA20:
      is_a20_enabled_ = true;
      break;
    case kWriteOutputPort:
    case kLoopKeyboard:
    case kLoopMouse:
    case kWriteToMouse:
      pending_command_ = command;
      break;
    default:
      LOG_GUEST("i8042: command {:#x} unknown", command);
  }
}

void I8042::finish_command(u8 command, u8 value) {
  switch (command) {
    case kWriteOutputPort:
      return write_output_port(value);
    case kLoopKeyboard:
      return answer(value);
    case kLoopMouse:
      return answer(value, kStatusFromMouse);
    case kWriteToMouse:
      return answer(kDeviceResend, kStatusFromMouse | kStatusTimeout);
    default:
      memory_[command % memory_.size()] = value;
      update_interrupts();
  }
}

u8 I8042::output_port() const { return kOutputPortNotReset | (is_a20_enabled_ ? kOutputPortA20 : 0); }

void I8042::write_output_port(u8 value) {
  is_a20_enabled_ = (value & kOutputPortA20) != 0;
  if ((value & kOutputPortNotReset) == 0) machine_.request_stop(StopReason::kReset, 0);
}

void I8042::answer(u8 data, u8 status_bits) {
  if (count_ == kQueueSize) return;  // a guest that never reads loses answers
  queue_[(head_ + count_) % kQueueSize] = {data, status_bits};
  ++count_;
  update_interrupts();
}

void I8042::update_interrupts() {
  const bool is_mouse = (front_status() & kStatusFromMouse) != 0;
  const u8 enabled = memory_[0];
  keyboard_interrupt_.set_level(count_ != 0 && !is_mouse && (enabled & kCommandByteKeyboardInterrupt) != 0);
  mouse_interrupt_.set_level(count_ != 0 && is_mouse && (enabled & kCommandByteMouseInterrupt) != 0);
}

void I8042::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("memory", memory_);
  visitor.field("queue", queue_);
  visitor.field("head", head_);
  visitor.field("count", count_);
  visitor.field("last_data", last_data_);
  visitor.field("pending_command", pending_command_);
  visitor.field("was_command", was_command_);
  visitor.field("is_a20_enabled", is_a20_enabled_);
  visitor.end();
  if (!visitor.is_loading()) return;
  if (head_ >= kQueueSize || count_ > kQueueSize) {
    visitor.reject("i8042: answer queue positions out of range");
    head_ = count_ = 0;
  }
  update_interrupts();
}

}  // namespace doppel
