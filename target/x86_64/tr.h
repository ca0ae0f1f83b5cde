/* What the parts of the x86-64 guest share when it runs on the translator: slots, the state word, faults.
 * docs/x86-translator.md is the map. */
#pragma once

#include "target/x86_64/x86.h"
#include "tcg/target.h"

#include <stdnoreturn.h>

/* ---- slots: guest state as the IR sees it ------------------------------------------------------ */
enum {
    X86_SLOT_R = 0, /* gpr[], as instructions number them */
    X86_SLOT_CC_OP = 16, /* enum x86_cc, see flags.h */
    X86_SLOT_CC_DST,
    X86_SLOT_CC_SRC,
    X86_SLOT_CC_AUX,
    X86_SLOT_DF,       /* 1 or -1 */
    X86_SLOT_SEG_BASE, /* seg[].base, N_X86_SEGS of them */
    X86_SLOT_TMP = X86_SLOT_SEG_BASE + N_X86_SEGS, /* 4: values that cross blocks inside an instruction */
    X86_SLOT_X = X86_SLOT_TMP + 4, /* V128: zmm[0..15], bytes 0..15 */
    X86_SLOT_Y = X86_SLOT_X + 16,  /* V128: zmm[0..15], bytes 16..31 */
    X86_SLOT_RFLAGS = X86_SLOT_Y + 16, /* but arithmetic flags and DF */
    X86_SLOT_KERNEL_GS, /* kernel_gs_base */
    X86_SLOT_SSP,
    X86_SLOT_CODE_LIMIT, /* code_limit */
    X86_SLOT_MXCSR,      /* read only: mxcsr in the low half, whose flags are stale; anything above */
    N_X86_SLOTS
};
extern const struct ir_slot x86_slots[N_X86_SLOTS];

/* ---- the state word (x86_cpu.state_word) ---------------------------------------------------------
 * Kept ready: everyone who changes one of its sources calls x86_update_state_word. */
enum {
    X86_TR_CODE32 = 1 << 0,  /* CS.D */
    X86_TR_CODE64 = 1 << 1,  /* CS.L in long mode */
    X86_TR_STACK32 = 1 << 2, /* SS.B; 64-bit code: 0 */
    X86_TR_CPL_SHIFT = 3,    /* 2 bits */
    X86_TR_CPL_MASK = 3 << 3,
    X86_TR_FLAT_SHIFT = 5, /* 6 bits by segment number: base 0, limit 4 GiB, readable and writable (CS: base 0
                              and limit 4 GiB). In 64-bit code: all set but FS and GS, which are 0 */
    X86_TR_PE = 1 << 11,
    X86_TR_VM = 1 << 12,     /* virtual-8086 */
    X86_TR_IOPL_OK = 1 << 13, /* CPL <= IOPL (VM: IOPL is 3): CLI, STI, ports */
    X86_TR_TF = 1 << 14,     /* single-step: units of one instruction, then #DB */
    X86_TR_SHADOW = 1 << 15, /* behind STI, MOV SS: the first instruction runs before interrupts */
    X86_TR_NO_X87 = 1 << 16, /* CR0.EM or CR0.TS: x87 and MMX instructions are looked at by a helper */
    X86_TR_NO_SSE = 1 << 17, /* CR0.EM, CR0.TS or no CR4.OSFXSR: so are SSE's */
    X86_TR_NO_AVX = 1 << 18, /* CR0.TS, no CR4.OSXSAVE or no XCR0.AVX: and AVX's */
    X86_TR_SIMD_TRAPS = 1 << 19, /* an exception is unmasked in MXCSR: exact helpers, #XM */
    X86_TR_WATCH = 1 << 20,  /* DR7 has a data or I/O breakpoint */
    X86_TR_BREAK = 1 << 21,  /* DR7 has a code breakpoint */
    X86_TR_LMA = 1 << 22,    /* long mode, compatibility code included */
    X86_TR_SMM = 1 << 23,
    X86_TR_LIMIT = 1 << 24,  /* CS ends in this page: units of one instruction, each is checked */
    X86_TR_SHADOW_STACK = 1 << 25, /* on at this CPL */
    X86_TR_AC = 1 << 26,     /* CR0.AM, RFLAGS.AC, CPL 3: alignment is checked */
    X86_TR_IBT = 1 << 27,    /* indirect branches are tracked at this CPL */
    X86_TR_WAIT = 1 << 28,   /* and the next instruction must be ENDBR */
};
static inline unsigned x86_tr_cpl(uint32_t word)
{
    return (word & X86_TR_CPL_MASK) >> X86_TR_CPL_SHIFT;
}
static inline bool x86_tr_flat(uint32_t word, unsigned seg)
{
    return word >> (X86_TR_FLAT_SHIFT + seg) & 1;
}
/* Recompute the state word and tell the translator when that, the address space or rights changed. A helper that
 * may change it must not come back to its unit: end that with an indirect jump (IR_HINT_TRAP). */
void x86_update_state_word(struct x86_cpu *x);

/* ---- memory accesses: modes of the IR's loads and stores ------------------------------------------- */
enum {
    X86_MMU_DATA,   /* with the CPL of the moment */
    X86_MMU_SYSTEM, /* implicit supervisor access: descriptor tables, task states, stacks of inner rings */
    X86_MMU_STACK,  /* as DATA, through SS: where the address is not canonical, #SS instead of #GP */
    X86_MMU_SHADOW, /* the shadow stack, with the CPL of the moment */
    N_X86_MMU_MODES
};
/* IR_ALIGNED accesses that are misaligned raise #GP(0), but #AC(0) where the state word has X86_TR_AC (and the
 * access is smaller than 16 bytes). */

/* ---- decoding and translating (translate.c): tcg_target's functions -------------------------------- */
struct insn_scan;
struct tr;
void x86_scan(struct vcpu *cpu, uint32_t flags, const uint8_t *bytes, size_t n, int32_t off,
              struct insn_scan *out);
void x86_translate(struct tr *t, const struct insn_scan *insn);
/* begin_unit calls this first (insns_sys.c): single-step, interrupt shadow, code breakpoints. Units under
 * X86_TR_TF, X86_TR_SHADOW, X86_TR_BREAK and X86_TR_WATCH have one instruction. */
void x86_begin_unit(struct tr *t);
uint16_t x86_guess(struct vcpu *cpu); /* cc_op + 1 */
void tr_begin_events(struct tr *t);

/* ---- exceptions (SDM 3-6.3.1) --------------------------------------------------------------------- */
enum {
    X86_DE = 0, X86_DB = 1, X86_NMI_VECTOR = 2, X86_BP = 3, X86_OF = 4, X86_BR = 5, X86_UD = 6, X86_NM = 7,
    X86_DF = 8, X86_TS = 10, X86_NP = 11, X86_SS_FAULT = 12, X86_GP = 13, X86_PF = 14, X86_MF = 16,
    X86_AC = 17, X86_MC = 18, X86_XM = 19, X86_CP = 21,
};

/* Inside an IR_CALL_RAISES helper: the running instruction faults. Nothing of it is done. */
noreturn void x86_fault(struct x86_cpu *x, unsigned vector);
noreturn void x86_fault_code(struct x86_cpu *x, unsigned vector, uint32_t error);
/* #PF at `va`, as mmu.c found it. */
noreturn void x86_page_fault(struct x86_cpu *x, uint64_t va, uint32_t error);
/* A segment selector's #GP, #NP, #SS, #TS: RPL and what stands for it go, EXT comes where an event is delivered. */
noreturn void x86_fault_selector(struct x86_cpu *x, unsigned vector, uint16_t selector);
/* In IR: the instruction faults (error code 0 where the vector has one); ends the block. */
void tr_fault(struct tr *t, unsigned vector);

/* Deliver an interrupt or exception through IDT or IVT. pc is the instruction's that faulted, or that would be
 * next; the frame says pc + len. Afterwards pc, CS, SS, RSP and the state word are the handler's. A fault
 * inside takes its place, becomes #DF or a triple fault (shutdown: the vCPU asks for a reset), and does not
 * return (tcg_leave). vCPU's thread, state in arch. */
struct x86_event {
    uint8_t vector;
    bool has_error;
    bool soft;     /* INT n, INT3, INTO: the gate's DPL is checked */
    bool external; /* not caused by the running program: EXT in error codes */
    uint8_t len;   /* of a soft one's instruction */
    uint32_t error;
};
void x86_deliver(struct x86_cpu *x, struct x86_event e);
/* RFLAGS.IF, the TPR or such was set: look whether an interrupt is due, once the next instruction is done. */
void x86_check_interrupts(struct x86_cpu *x);

/* RFLAGS in full while running: lazy flags computed. And set them: arithmetic bits become lazy again. */
uint64_t x86_get_rflags(struct x86_cpu *x);
void x86_set_rflags(struct x86_cpu *x, uint64_t value);

/* vector.c: MXCSR between x->mxcsr and the translator, for settle and resume; tcg_target.rounding. */
void x86_vector_settle(struct x86_cpu *x);
void x86_vector_resume(struct x86_cpu *x);
uint8_t x86_fp_modes(struct vcpu *cpu);

/* tcg_target.settle and .resume: pc and lazy flags into rip and rflags, and back. */
void x86_settle(struct vcpu *cpu);
void x86_resume(struct vcpu *cpu);
const char *x86_borrow(struct vcpu *cpu);
void x86_give_back(struct vcpu *cpu);

/* ---- segments ------------------------------------------------------------------------------------- */
/* x86_helper_linear(segment, offset, how): the linear address of an access of `how & 0xff` bytes, which is a
 * write with X86_LINEAR_WRITE: limit, rights and form of the address (64-bit) are checked; the offset is taken
 * as it is (mask it to the address size). Raises #GP(0) or, through SS, #SS(0). */
enum { X86_LINEAR_WRITE = 1 << 8, X86_LINEAR_EXEC = 1 << 9 };
uint64_t x86_linear(struct x86_cpu *x, unsigned seg, uint64_t offset, unsigned how);

/* What helpers' operands mean. */
enum { X86_INT_N, X86_INT_3 /* and INTO */, X86_INT_1 };
enum { X86_GDT_BASE, X86_GDT_LIMIT, X86_IDT_BASE, X86_IDT_LIMIT, X86_LDT_SELECTOR, X86_TR_SELECTOR, X86_MSW };
enum { X86_STRING_REP = 1 << 24, X86_STRING_OUT = 1 << 25 };

/* ---- helpers of translated code -------------------------------------------------------------------- */
#define X86_CPU struct x86_cpu *x
#define X86_HELPER(name, result, parameters, n, flags)                                             \
    result x86h_##name parameters;                                                                 \
    extern const struct ir_helper x86_helper_##name;
#include "target/x86_64/helpers.h"
#undef X86_HELPER
extern const struct ir_helper *const x86_helpers[];
enum {
#define X86_HELPER(name, result, parameters, n, flags) X86_HELPER_##name,
#include "target/x86_64/helpers.h"
#undef X86_HELPER
    N_X86_HELPERS
};

extern const struct tcg_target x86_64_tcg_target;
/* The model becomes one that the translator can do (features.c). */
struct error *x86_tcg_fit(struct vm *vm);
/* All that the translator has: words of model.h. */
void x86_tcg_words(uint32_t to[]);
/* PKRU and the TSC may be changed by others than their instructions (XRSTOR). */
void x86_set_pkru(struct x86_cpu *x, uint32_t value);
void x86_set_tsc(struct x86_cpu *x, uint64_t v);
