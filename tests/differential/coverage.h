// Which instructions belong to the test: offered by doppel, comparable at user level, present on this host.
#pragma once

#include "tests/differential/decode.h"

namespace doppel::differential {

enum class Offer : u8 { kNo, kYes };

// The processor is AMD's or Hygon's.
bool host_is_amd();

// Whether doppel's CPU model has the instruction at all. Others are not forms.
Offer offer_of(const Instruction& instruction);

// Why a form cannot be compared although it is offered; null when it can.
const char* skip_reason(const Instruction& instruction);

// Registers whose new value is the machine's own business (time, entropy, identity): a mask of GPR numbers.
u32 volatile_gprs(const Instruction& instruction);

// RFLAGS bits not compared for this instruction, with the reason in the table of coverage.cc.
u64 ignored_flags(const Instruction& instruction);

// What an instruction that faulted may have done already, differently from one processor to the next.
struct FaultLatitude {
  bool has_partial_stores =
      false;  // several stores: those before the fault may be done; which byte faults first
  bool is_address_by_page = false;  // CR2 is any byte of the operand's part in the faulting page
  // Either of two operands may fault first: neither CR2 nor which of #PF, #GP and #SS is compared. The order
  // is left to the processor (SDM 3A table 6-2, APM 2 8.5): AMD's choose by element size and repetition.
  bool has_two_reads = false;
  // A page-crossing access whose pages both fault may report either; the order of faults within one class is
  // the processor's own. SDM 3A table 6-2.
  bool has_two_pages = false;
  // #SS(0) or #GP(0): the operand may be neither canonical nor aligned, and which is reported is known of
  // AMD's processors only.
  bool has_open_refusal = false;
  bool has_partial_loads = false;  // general registers loaded before the fault may be changed
  bool has_mmx_entered = false;    // the x87 TOP and tags may already be those of MMX mode
  bool has_early_rip = false;      // this host reports the RIP of the instruction for a trap
};
FaultLatitude fault_latitude(const Instruction& instruction);

// The instruction stores MXCSR_MASK and this host allows MXCSR.MM (APM 1 4.2.2, CPUID 8000_0001 ECX[7]),
// which doppel does not offer to guests: the host's bit 17 of the mask, and nothing else, may be missing.
bool may_lack_misaligned_mode(const Instruction& instruction);
bool host_has_misaligned_mode();

// LOCK makes the instruction invalid on this host. Not where LOCK MOV CR0 is MOV CR8 (APM 3 "MOV CRn", CPUID
// 8000_0001 ECX[4]), which doppel does not offer.
bool is_lock_invalid(const Instruction& instruction);

}  // namespace doppel::differential
