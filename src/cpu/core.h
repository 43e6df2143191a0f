// Core: one vCPU's architectural state with the paging unit and the rules every engine shares.
#pragma once

#include <optional>

#include "cpu/cpu_state.h"
#include "cpu/mmu.h"
#include "cpu/platform.h"
#include "memory/guest_memory.h"
#include "x86/cpuid.h"
#include "x86/descriptor.h"

namespace doppel {

struct TaskImage;

// An exception that an instruction raised and that is still to be delivered. SDM 3A 6.
struct Fault {
  u8 vector = 0;
  bool has_error_code = false;
  u32 error_code = 0;
};

// How an event got to the IDT; decides privilege checks and the EXT bit. SDM 3A 6.4, 6.12.
enum class EventSource : u8 { kHardware, kException, kSoftwareInt, kSoftwareException };

// Privileged and mode-dependent architecture, independent of how instructions are executed. Owned by one
// engine vCPU and used on its thread. Functions that can fault return false after recording the fault in
// `fault`; the caller then abandons the instruction with registers unchanged.
class Core {
 public:
  Core(GuestMemory& guest_memory, CpuPlatform& cpu_platform, const x86::CpuidTable& cpuid_table);

  CpuState state;  // first, so that engines reach registers with short displacements
  Mmu mmu;
  GuestMemory& memory;
  CpuPlatform& platform;
  const x86::CpuidTable& cpuid;

  Fault fault;
  bool has_fault = false;

  // Derived from the state by update_mode().
  u8 cpl = 0;
  bool is_long_mode = false;  // EFER.LMA
  bool is_64bit = false;      // executing 64-bit code
  AccessMode access_mode = kSupervisor;

  // A debugger's watchpoints; null without any. An access that they defer fails with has_fault clear.
  DataWatch* data_watch = nullptr;
  // Of a reference: see AccessObserver. An access that it refuses fails with has_fault clear.
  AccessObserver* observer = nullptr;

  // --- Faults
  bool raise(u8 vector);
  bool raise(u8 vector, u32 error_code);
  bool raise_page_fault(GuestVirt address, u32 error_code);

  // Recomputes what is derived from CS, SS, CR0, EFER and RFLAGS; call after changing any of them.
  void update_mode();
  bool is_protected() const { return (state.cr0 & x86::kCr0Pe) != 0; }
  bool is_v8086() const { return (state.rflags & x86::kFlagVm) != 0; }
  bool is_real_or_v8086() const { return !is_protected() || is_v8086(); }
  // CR4.VME and CR4.PVI: VIF and VIP both set are #GP(0) before any instruction. SDM 3B 20.3.2, 20.4.
  bool has_virtual_interrupt() const {
    constexpr u64 kBoth = x86::kFlagVif | x86::kFlagVip;
    if ((state.rflags & kBoth) != kBoth) return false;
    return cpl == 3 && iopl() < 3 && (state.cr4 & (is_v8086() ? x86::kCr4Vme : x86::kCr4Pvi)) != 0;
  }
  unsigned iopl() const { return (state.rflags >> x86::kFlagIoplShift) & 3; }
  bool is_canonical(u64 va) const {
    const unsigned shift = (state.cr4 & x86::kCr4La57) != 0 ? 7 : 16;
    return static_cast<u64>(static_cast<i64>(va << shift) >> shift) == va;
  }
  // CR4.UMIP, CR4.TSD and their like: #GP(0) when CPL > 0.
  bool require_cpl0() { return cpl == 0 || raise(x86::kVectorGp, 0); }

  // --- Linear memory (linear.cc). `mode` is access_mode for explicit accesses, kSupervisor for implicit
  // ones.
  bool read_linear(u64 va, void* out, unsigned size, AccessMode mode);
  bool write_linear(u64 va, const void* data, unsigned size, AccessMode mode);
  // Checks that [va, va+size) could be written, without writing.
  bool probe_write(u64 va, unsigned size, AccessMode mode);
  template <class T>
  bool read_system(u64 va, T& out) {
    return read_linear(va, &out, sizeof(T), kSupervisor);
  }
  template <class T>
  bool write_system(u64 va, const T& value) {
    return write_linear(va, &value, sizeof(T), kSupervisor);
  }
  // Data and I/O breakpoints (DR7) that an access hits are collected in state.pending_debug.
  void note_data_access(u64 va, unsigned size, bool is_write);
  void note_io_access(u16 port, unsigned size);

  // --- Segmentation (segmentation.cc)
  // Linear address of a segment offset with limit and type checks; #GP or #SS on failure.
  bool linear_address(unsigned segment, u64 offset, unsigned size, bool is_write, u64& va);
  bool read_descriptor(x86::Selector selector, x86::Descriptor& out, u64& address, u8 vector);
  // MOV/POP to ES, SS, DS, FS, GS.
  bool load_segment(unsigned index, u16 selector);
  void load_real_segment(unsigned index, u16 selector);
  void set_segment(Segment& segment, u16 selector, x86::Descriptor descriptor);
  bool set_accessed(x86::Descriptor& descriptor, u64 address);
  bool load_ldtr(u16 selector);
  bool load_tr(u16 selector);
  // SS for an inner privilege level.
  bool load_stack_segment(u16 selector, unsigned new_cpl, u8 vector, Segment& out);
  void null_unreachable_segments();

  // --- Interrupts and exceptions (interrupt_delivery.cc)
  // Delivers through the IDT or IVT; on a fault during delivery escalates to #DF and shutdown.
  // Returns false when the CPU shut down (triple fault).
  bool deliver(Fault event, EventSource source, u64 return_rip);
  // INT n, INT1, INT3, INTO: false = faulted, to be delivered by the caller.
  bool software_interrupt(u8 vector, EventSource source, u64 return_rip);

  // --- Far control transfers (far_transfer.cc, iret.cc, task_switch.cc)
  bool far_jump(u16 selector, u64 offset, unsigned operand_size, u64 next_rip);
  bool far_call(u16 selector, u64 offset, unsigned operand_size, u64 return_rip);
  bool far_return(unsigned operand_size, u32 pop_bytes);
  bool interrupt_return(unsigned operand_size, u64 next_rip);
  enum class TaskSwitch : u8 { kJump, kCall, kIret, kInterrupt };
  bool switch_task(x86::Selector selector, TaskSwitch cause, u64 return_rip, std::optional<u32> error_code);

  // --- System calls (system_call.cc)
  bool syscall(u64 next_rip);
  bool sysret(unsigned operand_size);
  bool sysenter();
  bool sysexit(unsigned operand_size);

  // --- Control, debug and model-specific registers (control_registers.cc, msr.cc)
  bool read_control(unsigned index, u64& value);
  bool write_control(unsigned index, u64 value);
  bool set_cr0(u64 value);
  bool set_cr4(u64 value);
  bool set_cr3(u64 value);
  bool read_debug(unsigned index, u64& value);
  bool write_debug(unsigned index, u64 value);
  bool write_xcr(u32 index, u64 value);
  bool read_msr(u32 index, u64& value);
  bool write_msr(u32 index, u64 value);
  u64 guest_tsc() { return platform.tsc() + state.tsc_offset; }
  // Recomputes derived values after the whole state was replaced.
  void state_replaced();

  // --- I/O permission (io_permission.cc). #GP(0) unless the access is allowed; notes I/O breakpoints.
  bool check_io(u16 port, unsigned size);

  // --- Stack, in the current SS (segmentation.cc)
  u64 stack_mask() const;
  bool push(u64 value, unsigned size);
  bool pop(u64& value, unsigned size);

 private:
  bool deliver_once(Fault event, EventSource source, u64 return_rip);
  bool deliver_real(u8 vector, u64 return_rip);
  bool deliver_protected(const Fault& event, EventSource source, u64 return_rip);
  bool deliver_long(const Fault& event, EventSource source, u64 return_rip);
  bool read_gate(const Fault& event, EventSource source, x86::Descriptor& gate, u64& offset);
  bool read_gate_target(x86::Selector selector, u32 ext, x86::Descriptor& code, u64& address);
  bool inner_stack(unsigned level, u32 ext, Segment& ss, u64& esp);
  bool enter_protected_gate(const Fault& event, u64 return_rip, x86::Descriptor gate, u32 ext);
  bool far_jump_long_or_gate(u16 selector, u64 offset, unsigned operand_size);
  bool transfer_to_code(u16 selector, x86::Descriptor code, u64 address, u64 offset, unsigned new_cpl);
  bool check_far_code(x86::Selector selector, const x86::Descriptor& code);
  bool call_through_gate(x86::Selector gate_selector, x86::Descriptor gate, u64 gate_address, u64 return_rip,
                         bool is_call);
  // Where a call gate leads.
  struct GateTarget {
    x86::Selector selector;
    x86::Descriptor code;
    u64 code_address;  // of the descriptor
    u64 offset;
  };
  bool call_inner(const GateTarget& target, unsigned size, unsigned parameters, u64 return_rip);
  bool return_to_v8086(u64 rip, u64 cs, u64 flags);
  bool return_to_outer(unsigned operand_size, u64 rip, x86::Selector selector, u32 pop_bytes, bool is_iret,
                       u64 flags);
  void load_flags_from_iret(u64 flags, unsigned operand_size, unsigned old_cpl);
  bool load_pdptes(u64 cr3_value);
  u64* kept_msr(u32 index);
  bool write_pat(u64 value);
  bool write_efer(u64 value);
  bool mtrr_slot(u32 index, u64*& slot);
  bool access_linear(u64 va, void* buffer, unsigned size, Access access, AccessMode mode);
  void update_watch();
  bool touches_breakpoint(unsigned index, u64 address, unsigned size) const;
  bool has_io_permission(u16 port, unsigned size);
  bool find_redirection(u8 vector, bool& is_redirected);
  bool enter_v8086_handler(u8 vector, u64 return_rip);
  bool enter_vector_table(u64 table, u8 vector, u64 flags, u64 return_rip);
  bool return_in_real_or_v8086(u64 rip, u16 selector, u64 flags, unsigned operand_size);
  bool enter_task(const TaskImage& image, bool is_wide, u64 flags);
};

}  // namespace doppel
