// The privileged part of the mix: ports, MSRs, control registers, descriptor tables, far transfers.
#include "tests/hostile/instruction_mix.h"
#include "tests/hostile/known_msrs.h"
#include "tests/hostile/layout.h"

namespace doppel::hostile {

void InstructionMix::port() {
  static constexpr u16 kPorts[] = {0x20,  0x21,  0x40,  0x42,  0x43,  0x60,  0x61,  0x64,  0x70,
                                   0x71,  0x80,  0x92,  0xa0,  0xa1,  0xb2,  0x3f8, 0x3f9, 0x3fd,
                                   0x4d0, 0x505, 0x600, 0x604, 0x608, 0xcf8, 0xcf9, 0xcfc};
  set_register(2, choices_.percent(80) ? choices_.pick(kPorts) : choices_.next());
  if (choices_.percent(60)) set_register(0, choices_.next());
  if (choices_.percent(20)) bytes({0x66});
  if (choices_.percent(80))
    bytes({0xec | static_cast<unsigned>(choices_.below(4))});
  else
    bytes({0xe4 | static_cast<unsigned>(choices_.below(4)), choices_.pick(kPorts) & 0xffu});
}

void InstructionMix::model_specific() {
  set_register(1, choices_.percent(80) ? known_msr(choices_) : choices_.next());
  if (choices_.percent(70)) {
    const u64 value = interesting_value(choices_);
    set_register(0, value & 0xffffffff);
    set_register(2, value >> 32);
  }
  bytes({0x0f, choices_.pick({0x30u, 0x30u, 0x32u})});
}

void InstructionMix::control_register() {
  const unsigned index =
      choices_.pick({0u, 0u, 2u, 3u, 3u, 4u, 4u, 8u, static_cast<unsigned>(choices_.below(16))});
  switch (choices_.below(4)) {
    case 0:
      bytes({0x0f, 0x20});
      break;
    case 1:
      bytes({0x0f, 0x01});
      return any_operand(6);  // LMSW
    default:
      // Flip a bit or two of what is there, or write something else altogether.
      if (choices_.percent(60)) {
        bytes({0x0f, 0x20, 0xc0 | (index & 7) << 3});
        if (code_size_ == 2) bytes({0x66});
        bytes({0x35});
        number(u64{1} << choices_.below(32), 4);
      } else {
        set_register(0, interesting_value(choices_));
      }
      if (index >= 8 && code_size_ == 8) bytes({0x44});
      bytes({0x0f, 0x22, 0xc0 | (index & 7) << 3});
      return;
  }
  bytes({0xc0 | (index & 7) << 3 | static_cast<unsigned>(choices_.below(8))});
}

void InstructionMix::debug_register() {
  const unsigned index = static_cast<unsigned>(choices_.below(8));
  set_register(0, index < 4 ? interesting_address(choices_) : choices_.next() & 0xffff27ff);
  bytes({0x0f, choices_.pick({0x21u, 0x23u, 0x23u}), 0xc0 | index << 3});
}

void InstructionMix::descriptor_table() {
  switch (choices_.below(5)) {
    case 0:
      bytes({0x0f, 0x01});
      return memory_operand(choices_.pick({0u, 1u, 2u, 3u}));
    case 1:
      bytes({0x0f, 0x00});
      return any_operand(static_cast<unsigned>(choices_.below(6)));
    case 2:  // LTR, LLDT of a likely selector
      set_register(0, choices_.pick({kTssSelector, kTaskA, kTaskB, kLdtSelector, kRandomSelectors}));
      bytes({0x0f, 0x00, choices_.pick({0xd8u, 0xd0u})});
      return;
    case 3:  // MOV to a segment register
      set_register(
          0, choices_.percent(70) ? choices_.below(kGdtEntries) * 8 + choices_.below(8) : choices_.next());
      bytes({0x8e, 0xc0 | static_cast<unsigned>(choices_.below(6)) << 3});
      return;
    default:
      bytes({0x0f, choices_.pick({0x02u, 0x03u, 0xb2u, 0xb4u, 0xb5u})});
      return any_operand(0);
  }
}

void InstructionMix::far_transfer() {
  const u64 selector = choices_.percent(70)
                           ? choices_.pick({kCode64, kCode32, kCode16, kUserCode64, kUserCode32, kTaskA,
                                            kTaskB, kTaskGateSelector, kCallGateSelector, kTssSelector}) +
                                 choices_.below(4)
                           : choices_.below(kGdtEntries * 8);
  const u64 offset =
      choices_.percent(70) ? kCode + choices_.below(kCodeBytes) : interesting_address(choices_);
  switch (choices_.below(5)) {
    case 0:
      bytes({choices_.pick({0xeau, 0x9au})});
      number(offset, code_size_ == 2 ? 2 : 4);
      number(selector, 2);
      return;
    case 1:
      bytes({0xff});
      return memory_operand(choices_.pick({3u, 5u}));
    case 2:  // a frame for RETF or IRET on the stack, right or nearly so
      for (const u64 value : {u64{kDataSegment}, kStack, choices_.next() & 0x3f7fd7, selector, offset}) {
        if (code_size_ == 2) bytes({0x66});
        bytes({0x68});
        number(value, 4);
      }
      if (choices_.percent(60) && code_size_ != 4) bytes({code_size_ == 8 ? 0x48u : 0x66u});
      bytes({choices_.pick({0xcfu, 0xcfu, 0xcbu})});
      return;
    case 3:
      bytes({0xca});
      number(choices_.next(), 2);
      return;
    default:
      bytes({choices_.pick({0xcfu, 0xcbu})});
      return;
  }
}

void InstructionMix::system_call() {
  switch (choices_.below(8)) {
    case 0:
      bytes({0x0f, 0x05});
      return;
    case 1:
      bytes({0x48, 0x0f, 0x07});
      return;
    case 2:
      bytes({0x0f, 0x34});
      return;
    case 3:
      bytes({0x0f, 0x35});
      return;
    case 4:
      bytes({0xcd, static_cast<unsigned>(choices_.next() & 0xff)});
      return;
    case 5:
      bytes({choices_.pick({0xccu, 0xceu, 0xf1u})});
      return;
    case 6:
      bytes({0x0f, 0x01, 0xf8});
      return;  // SWAPGS
    default:   // hypercalls
      set_register(0, choices_.below(16));
      bytes({0x0f, 0x01, choices_.pick({0xc1u, 0xd9u})});
      return;
  }
}

void InstructionMix::state_area() {
  if (choices_.percent(30)) set_register(0, choices_.below(16));
  if (code_size_ == 8 && choices_.percent(40)) bytes({0x48});
  switch (choices_.below(5)) {
    case 0:
      bytes({0x0f, 0xae});
      return memory_operand(static_cast<unsigned>(choices_.below(8)));
    case 1:
      bytes({0x0f, 0xc7});
      return any_operand(static_cast<unsigned>(choices_.below(8)));
    case 2:
      bytes({choices_.pick({0xd9u, 0xddu})});
      return memory_operand(choices_.pick({4u, 6u}));
    case 3:
      bytes({0x0f, 0x01, choices_.pick({0xd0u, 0xd1u})});
      return;
    default:
      bytes({0xd9});
      return memory_operand(5);
  }
}

void InstructionMix::halt() {
  static constexpr unsigned kLast[] = {0xc8, 0xc9, 0xca, 0xcb};
  if (choices_.percent(40)) bytes({0xfb});
  if (choices_.percent(60))
    bytes({0xf4});
  else
    bytes({0x0f, 0x01, choices_.pick(kLast)});
}

void InstructionMix::translation() {
  switch (choices_.below(4)) {
    case 0:
      bytes({0x0f, 0x01});
      return memory_operand(7);  // INVLPG
    case 1:                      // INVPCID
      set_register(0, choices_.below(5));
      bytes({0x66, 0x0f, 0x38, 0x82});
      return memory_operand(0);
    case 2:  // a page-table entry
      set_register(0, (interesting_address(choices_) & ~u64{0xfff}) | (choices_.next() & 0x1ff));
      set_register(3, kPageTables + 8 * choices_.below(2048));
      if (code_size_ == 8) bytes({0x48});
      bytes({0x89, code_size_ == 2 ? 0x07u : 0x03u});
      return;
    default:
      bytes({0x0f, choices_.pick({0x08u, 0x09u, 0x06u, 0xa2u, 0x31u})});
      return;
  }
}

void InstructionMix::flags() {
  static constexpr unsigned kOpcodes[] = {0xfa, 0xfb, 0xfc, 0xfd, 0xf5, 0xf8, 0xf9, 0x9e, 0x9f,
                                          0x9b, 0xd6, 0x27, 0x2f, 0x37, 0x3f, 0xd4, 0xd5};
  if (choices_.percent(70)) return bytes({choices_.pick(kOpcodes)});
  if (code_size_ == 2) bytes({0x66});
  bytes({0x68});
  number(choices_.next() & 0x3f7fd7, 4);
  if (code_size_ == 2) bytes({0x66});
  bytes({0x9d});
}

}  // namespace doppel::hostile
