/* Between the files of the x86-64 CPU's privileged half: memory, descriptors, stacks, delivery. */
#pragma once

#include "target/x86_64/tr.h"

/* ---- mmu.c ---------------------------------------------------------------------------------------- */
/* What translate_address says of a failure: #PF's error code, or that the address has no such form. */
enum {
    X86_NOT_CANONICAL = 1 << 16, X86_NOT_CANONICAL_STACK = 1 << 17,
    X86_NESTED_FAULT = 1 << 18, /* nested_error, nested_gpa */
};
bool x86_translate_address(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                           struct tlb_fill *out);
void x86_raise_memory(struct vcpu *cpu, uint64_t va, enum access access, int kind, int fault);
uint64_t x86_context_key(struct vcpu *cpu, int mode);
bool x86_user_key(struct vcpu *cpu, uint64_t *key);
bool x86_is_canonical(const struct x86_cpu *x, uint64_t va);
/* CR0, CR4 or EFER changed how addresses are translated: nothing that is remembered holds. */
void x86_paging_changed(struct x86_cpu *x);
/* CR3 becomes `value`; `keep`: what its PCID has cached stays. Then x86_update_state_word. */
void x86_set_cr3(struct x86_cpu *x, uint64_t value, bool keep);
/* PAE paging: the four entries at `cr3`, checked. False: #GP. */
bool x86_load_pdptrs(struct x86_cpu *x, uint64_t cr3);
bool x86_uses_pdptrs(const struct x86_cpu *x);

/* A shadow stack's memory (SDM 1-17.2) for anything but CALL and RET: 4 or 8 bytes at a multiple of 4, as a user's or
 * a supervisor's access. swap: what is `seen` at `va`, a multiple of 8, becomes `now`; false: it is something else. */
uint64_t x86_shadow_read(struct x86_cpu *x, uint64_t va, unsigned size, bool user);
void x86_shadow_write(struct x86_cpu *x, uint64_t va, unsigned size, uint64_t v, bool user);
bool x86_shadow_swap(struct x86_cpu *x, uint64_t va, uint64_t seen, uint64_t now, bool user);

/* ---- svm.c: APM 2-15 ------------------------------------------------------------------------------ */
/* Exit codes, APM 2-C. Those of instructions and events are 0x60 and a bit of intercept[3], 0x80 and one of [4]. */
enum {
    X86_EXIT_CR_READ = 0x00, X86_EXIT_CR_WRITE = 0x10, X86_EXIT_DR_READ = 0x20, X86_EXIT_DR_WRITE = 0x30,
    X86_EXIT_EXCEPTION = 0x40, X86_EXIT_INTR = 0x60, X86_EXIT_NMI = 0x61, X86_EXIT_SMI = 0x62,
    X86_EXIT_INIT = 0x63, X86_EXIT_VINTR = 0x64, X86_EXIT_CR0_SELECTED = 0x65, X86_EXIT_IDTR_READ = 0x66,
    X86_EXIT_GDTR_READ = 0x67, X86_EXIT_LDTR_READ = 0x68, X86_EXIT_TR_READ = 0x69, X86_EXIT_IDTR_WRITE = 0x6a,
    X86_EXIT_GDTR_WRITE = 0x6b, X86_EXIT_LDTR_WRITE = 0x6c, X86_EXIT_TR_WRITE = 0x6d, X86_EXIT_RDTSC = 0x6e,
    X86_EXIT_RDPMC = 0x6f, X86_EXIT_PUSHF = 0x70, X86_EXIT_POPF = 0x71, X86_EXIT_CPUID = 0x72,
    X86_EXIT_RSM = 0x73, X86_EXIT_IRET = 0x74, X86_EXIT_INT = 0x75, X86_EXIT_INVD = 0x76, X86_EXIT_PAUSE = 0x77,
    X86_EXIT_HLT = 0x78, X86_EXIT_INVLPG = 0x79, X86_EXIT_INVLPGA = 0x7a, X86_EXIT_IO = 0x7b,
    X86_EXIT_MSR = 0x7c, X86_EXIT_TASK = 0x7d, X86_EXIT_SHUTDOWN = 0x7f, X86_EXIT_VMRUN = 0x80,
    X86_EXIT_VMMCALL = 0x81, X86_EXIT_VMLOAD = 0x82, X86_EXIT_VMSAVE = 0x83, X86_EXIT_STGI = 0x84,
    X86_EXIT_CLGI = 0x85, X86_EXIT_RDTSCP = 0x87, X86_EXIT_ICEBP = 0x88, X86_EXIT_WBINVD = 0x89,
    X86_EXIT_MONITOR = 0x8a, X86_EXIT_MWAIT = 0x8b, X86_EXIT_XSETBV = 0x8d, X86_EXIT_NPF = 0x400,
};
enum { X86_SVM_V_IRQ = 1 << 8, X86_SVM_V_MASKING = 1 << 24 }; /* in int_ctl */
/* The running instruction is one that the host may have asked for: does not come back then. Nothing of it is done, and
 * its own checks are behind it. */
void x86_exit_if_wanted(struct x86_cpu *x, unsigned code, uint64_t info1, uint64_t info2);
static inline void x86_intercept(struct x86_cpu *x, unsigned code)
{
    if (x->svm.in_guest)
        x86_exit_if_wanted(x, code, 0, 0);
}
bool x86_is_intercepted(const struct x86_cpu *x, unsigned code);
/* CR0 becomes `v`; ports; registers: `size` bytes at `port`, `how` the rest of EXITINFO1. */
void x86_intercept_cr0(struct x86_cpu *x, uint64_t v);
void x86_intercept_port(struct x86_cpu *x, uint32_t port, unsigned size, uint64_t how, uint64_t len);
void x86_intercept_msr(struct x86_cpu *x, uint32_t index, bool write);
/* An exception of the guest, before it is delivered; `address` of a page fault. */
void x86_intercept_exception(struct x86_cpu *x, struct x86_event e, uint64_t address);
/* #VMEXIT: the host's state is in place. The second leaves for it. */
void x86_exit_guest(struct x86_cpu *x, uint64_t code, uint64_t info1, uint64_t info2);
noreturn void x86_vmexit(struct x86_cpu *x, uint64_t code, uint64_t info1, uint64_t info2);
/* Between two instructions of a guest: something that the host takes, or a virtual interrupt. */
bool x86_take_guest_event(struct x86_cpu *x, bool held_back);
/* May a maskable interrupt of the machine be taken, as far as flags say? */
bool x86_takes_interrupts(const struct x86_cpu *x);
bool x86_virtual_is_due(const struct x86_cpu *x);
/* Is there one that flags allow, the machine's or a virtual one? */
bool x86_interrupt_is_due(const struct x86_cpu *x);
uint64_t x86_event_info(struct x86_event e);

/* ---- cet.c ---------------------------------------------------------------------------------------- */
/* Bits of IA32_U_CET and IA32_S_CET, SDM 1-17.1.2. */
enum {
    X86_CET_SHADOW = 1 << 0, X86_CET_WRSS = 1 << 1, X86_CET_ENDBR = 1 << 2, X86_CET_LEGACY = 1 << 3,
    X86_CET_NO_TRACK = 1 << 4, X86_CET_SUPPRESS_OFF = 1 << 5, X86_CET_SUPPRESS = 1 << 10,
    X86_CET_WAIT = 1 << 11,
};
enum { X86_CP_RET = 1, X86_CP_FAR_RET = 2, X86_CP_ENDBRANCH = 3, X86_CP_RSTORSSP = 4, X86_CP_SETSSBSY = 5 };
/* X86_TR_SHADOW_STACK, IBT, WAIT as they are now; CR4.CET is set. */
uint32_t x86_cet_word(const struct x86_cpu *x);
/* May the MSR (0x6a0 to 0x6a8) have this value? */
bool x86_cet_value_is_right(const struct x86_cpu *x, uint32_t index, uint64_t v);
/* The shadow stack in a far call, interrupt or exception to ring `to`, in 64-bit code if `wide`; `ist` of the gate;
 * `back`: linear address to come back to. CPL, CS and SSP are still the old ones; afterwards nothing may fault. */
void x86_shadow_enter(struct x86_cpu *x, unsigned to, bool wide, unsigned ist, uint64_t back);
/* In a far return or IRET: CS and the linear address returned to are compared. Before anything changes. */
void x86_shadow_return(struct x86_cpu *x, uint16_t cs, uint64_t to, bool wide, bool vm86);
/* In a far jump: compatibility code has its shadow stack below 4 GiB. */
void x86_shadow_jump(struct x86_cpu *x, bool wide);
/* In SYSCALL and SYSENTER before CPL changes, in SYSRET and SYSEXIT after. */
void x86_shadow_leave_user(struct x86_cpu *x);
void x86_shadow_enter_user(struct x86_cpu *x);
/* In a task switch: what the old task's shadow stack has to say, `back` where it goes on; then the new one's. */
struct x86_shadow_frame {
    bool on;
    uint64_t cs, back, ssp;
};
struct x86_shadow_frame x86_shadow_leave_task(struct x86_cpu *x, bool returns, uint64_t back);
enum x86_task_why { X86_TASK_JUMP, X86_TASK_CALL, X86_TASK_RETURN, X86_TASK_EVENT };
void x86_shadow_enter_task(struct x86_cpu *x, const struct x86_shadow_frame *f, enum x86_task_why why);
/* A transfer is done, pc is the target: that must be ENDBR where branches are tracked. */
void x86_track_target(struct x86_cpu *x);

/* ---- fault.c -------------------------------------------------------------------------------------- */
/* The linear address of the running instruction; its offset in CS. */
uint64_t x86_insn_pc(struct x86_cpu *x);
uint64_t x86_insn_ip(struct x86_cpu *x);
/* Guest memory, with the faults of an access by this instruction or delivery. */
uint64_t x86_read(struct x86_cpu *x, uint64_t va, unsigned size, unsigned mode);
void x86_write(struct x86_cpu *x, uint64_t va, unsigned size, uint64_t v, unsigned mode);
/* Bytes of the running instruction, 0 if it cannot be read. */
unsigned x86_insn_length(struct x86_cpu *x);
/* Translations of a guest are not what they were. */
void x86_forget_guest(struct x86_cpu *x);
/* #PF or what else translate_address said. */
noreturn void x86_memory_fault(struct x86_cpu *x, uint64_t va, int fault);
/* #DB as a fault of this instruction: bits of DR6. */
noreturn void x86_debug_fault(struct x86_cpu *x, uint64_t dr6);
/* No interrupt is taken when `pc` is next; nor #DB behind an instruction that loaded SS. */
enum { X86_SHADOW_STI = 1, X86_SHADOW_STACK = 2, X86_SHADOW_WANTED = 4 /* one waits for it to end */ };
void x86_hold_interrupts(struct x86_cpu *x, uint64_t pc, bool stack);
#define X86_DR6_BD ((uint64_t)1 << 13)
#define X86_DR6_BS ((uint64_t)1 << 14)
#define X86_DR6_BT ((uint64_t)1 << 15)
#define X86_DR7_GD ((uint64_t)1 << 13)
bool x86_take_interrupt(struct vcpu *cpu);
bool x86_waits(struct vcpu *cpu);
/* What cannot go on, such as a triple fault: the CPU asks for a reset and stands still. */
noreturn void x86_shut_down(struct x86_cpu *x);

/* ---- segment.c ------------------------------------------------------------------------------------ */
enum { /* types of system descriptors, SDM 3-3.5; those of 32 bits have bit 3 */
       X86_TYPE_TSS16 = 1, X86_TYPE_LDT = 2, X86_TYPE_TSS16_BUSY = 3, X86_TYPE_CALL16 = 4,
       X86_TYPE_TASK_GATE = 5, X86_TYPE_INT16 = 6, X86_TYPE_TRAP16 = 7, X86_TYPE_TSS32 = 9,
       X86_TYPE_TSS32_BUSY = 11, X86_TYPE_CALL32 = 12, X86_TYPE_INT32 = 14, X86_TYPE_TRAP32 = 15,
};
enum { X86_AR_ACCESSED = 1, X86_AR_WRITABLE = 2, X86_AR_READABLE = 2, X86_AR_CONFORMING = 4,
       X86_AR_EXPAND_DOWN = 4, X86_AR_CODE = 8 };
struct x86_descriptor {
    uint64_t at;  /* linear address */
    uint32_t low, high;
    uint16_t selector;
};
static inline bool x86_is_null(uint16_t selector)
{
    return !(selector & ~3);
}
static inline unsigned x86_desc_type(const struct x86_descriptor *d)
{
    return d->high >> 8 & 15;
}
static inline unsigned x86_desc_dpl(const struct x86_descriptor *d)
{
    return d->high >> 13 & 3;
}
static inline bool x86_desc_present(const struct x86_descriptor *d)
{
    return d->high >> 15 & 1;
}
static inline bool x86_desc_is_segment(const struct x86_descriptor *d) /* else system */
{
    return d->high >> 12 & 1;
}
static inline bool x86_desc_is_code(const struct x86_descriptor *d)
{
    return (d->high >> 11 & 3) == 3;
}
static inline bool x86_desc_is_long(const struct x86_descriptor *d) /* L */
{
    return d->high >> 21 & 1;
}
static inline bool x86_in_long_mode(const struct x86_cpu *x)
{
    return x->efer & X86_EFER_LMA;
}
static inline bool x86_in_code64(const struct x86_cpu *x)
{
    return x86_in_long_mode(x) && x->seg[X86_CS].rights & X86_AR_L;
}
static inline bool x86_in_vm86(const struct x86_cpu *x)
{
    return x->rflags & X86_FLAG_VM;
}
/* Protected mode proper: selectors name descriptors. */
static inline bool x86_uses_descriptors(const struct x86_cpu *x)
{
    return x->cr0 & X86_CR0_PE && !x86_in_vm86(x);
}
static inline bool x86_desc_is_wide(const struct x86_cpu *x, const struct x86_descriptor *d)
{
    return x86_in_long_mode(x) && x86_desc_is_long(d);
}
/* False: the selector's index is outside its table. */
bool x86_find_descriptor(struct x86_cpu *x, uint16_t selector, struct x86_descriptor *d);
/* The same, or #vector(selector). */
struct x86_descriptor x86_get_descriptor(struct x86_cpu *x, uint16_t selector, unsigned vector);
/* Bits 63..32 of the base of a 16-byte descriptor; checks that its form is right, else #vector(selector). */
uint64_t x86_descriptor_upper(struct x86_cpu *x, const struct x86_descriptor *d, unsigned vector);
void x86_mark_accessed(struct x86_cpu *x, struct x86_descriptor *d);
struct x86_segment x86_segment_from(const struct x86_descriptor *d);
/* As real mode and virtual-8086 mode load one. */
void x86_load_real_segment(struct x86_cpu *x, unsigned seg, uint16_t selector);
void x86_load_segment(struct x86_cpu *x, unsigned seg, uint16_t selector);
/* SS for ring `cpl`, checked; #vector(selector). */
struct x86_segment x86_check_stack_segment(struct x86_cpu *x, uint16_t selector, unsigned cpl,
                                           unsigned vector);
/* Does [offset, offset + size) lie in the segment? */
bool x86_segment_holds(const struct x86_segment *s, uint64_t offset, uint64_t size);
void x86_load_tr(struct x86_cpu *x, uint16_t selector);
void x86_load_ldt(struct x86_cpu *x, uint16_t selector, unsigned vector);

/* A stack that is written or read before it is the CPU's. */
struct x86_stack {
    const struct x86_segment *seg;
    uint64_t sp, mask; /* mask: what of sp counts */
    unsigned size;     /* of an element: 2, 4, 8 */
    unsigned mode;
    uint16_t error;    /* selector of #SS when it overflows */
};
struct x86_stack x86_stack_now(struct x86_cpu *x, unsigned size);
/* The new stack of an inner ring. */
struct x86_stack x86_stack_of(const struct x86_cpu *x, const struct x86_segment *ss, uint64_t sp,
                              unsigned size);
void x86_push(struct x86_cpu *x, struct x86_stack *st, uint64_t v);
uint64_t x86_pop(struct x86_cpu *x, struct x86_stack *st);
/* It is the CPU's now: RSP. */
void x86_keep_sp(struct x86_cpu *x, const struct x86_stack *st);
/* Set CS and the instruction pointer; the limit is checked by x86_check_ip first. */
void x86_set_ip(struct x86_cpu *x, uint64_t ip);
/* #GP(0) unless an instruction may be at `ip` in this CS. */
void x86_check_ip(struct x86_cpu *x, const struct x86_segment *cs, uint64_t ip);

/* ---- task.c --------------------------------------------------------------------------------------- */
/* SS:ESP of ring `cpl` from the task state; #TS. */
void x86_inner_stack(struct x86_cpu *x, unsigned cpl, uint16_t *ss, uint64_t *sp);
/* RSP of a ring, or of an IST entry (1 to 7), from a 64-bit task state. */
uint64_t x86_inner_rsp(struct x86_cpu *x, unsigned cpl);
uint64_t x86_ist_rsp(struct x86_cpu *x, unsigned ist);
/* Switch to the task of this TSS descriptor. `next`: offset in CS at which the old one goes on. The new one's pc
 * etc. are in place afterwards; faults on the way in belong to it. */
void x86_switch_task(struct x86_cpu *x, struct x86_descriptor *tss, enum x86_task_why why,
                     uint64_t next);
/* Through a task gate. `vector`: of faults in it. */
void x86_task_gate(struct x86_cpu *x, const struct x86_descriptor *gate, enum x86_task_why why,
                   uint64_t next);
/* #GP(0) unless IOPL or the I/O permission bitmap lets these ports through. */
void x86_check_ports(struct x86_cpu *x, uint32_t port, unsigned size);

/* ---- smm.c ---------------------------------------------------------------------------------------- */
/* Take an SMI, pc being the next instruction's. */
void x86_enter_smm(struct x86_cpu *x);

/* ---- system.c ------------------------------------------------------------------------------------- */
uint64_t x86_tsc_now(const struct x86_cpu *x);
uint64_t x86_guest_tsc(const struct x86_cpu *x); /* as RDTSC tells it */
/* Bits that may be set in CR4 and (msr.c) EFER. */
uint64_t x86_allowed_cr4(const struct x86_cpu *x);
uint64_t x86_allowed_efer(const struct x86_cpu *x);
/* Leave the unit and stand still, until an interrupt if those count. */
noreturn void x86_halt(struct x86_cpu *x, bool takes_intr);
/* Which of DR0..3 match an access (DR7's kinds); WATCH_ANY: a read. */
enum { X86_WATCH_EXEC, X86_WATCH_WRITE, X86_WATCH_IO, X86_WATCH_ANY };
uint32_t x86_watch_hits(const struct x86_cpu *x, uint64_t linear, unsigned size, unsigned what);
