/* The RISC-V CPU: architectural state, the state word that selects translations, extensions, and what
 * its parts offer to each other and to boards. RV64 with M, S and U modes.
 *
 * Specifications: "unpriv" is the unprivileged ISA, "priv" the privileged architecture (1.12, 1.13). */
#pragma once

#include "core/vcpu.h"
#include "tcg/target.h"

#include <stdnoreturn.h>

struct debug_reg;
struct timer;
struct riscv_imsic_ops;

/* ---- extensions ------------------------------------------------------------------------------ */
enum { RV_IN_BASE = 1, RV_IN_RVA22 = 2, RV_IN_RV64 = 4, RV_IN_MAX = 8 };

enum rv_ext {
#define RV_EXT(id, name, sets) RV_EXT_##id,
#include "target/riscv/ext.h"
#undef RV_EXT
    N_RV_EXTS
};

struct riscv_ext_info {
    const char *name; /* lower case, as in an ISA string */
    uint8_t sets;
};
extern const struct riscv_ext_info riscv_exts[N_RV_EXTS];

/* ---- numbers --------------------------------------------------------------------------------- */
enum { RV_U = 0, RV_S = 1, RV_M = 3 };

enum rv_cause { /* priv 3.1.15 */
    RV_INSN_MISALIGNED = 0, RV_INSN_ACCESS = 1, RV_ILLEGAL = 2, RV_BREAKPOINT = 3,
    RV_LOAD_MISALIGNED = 4, RV_LOAD_ACCESS = 5, RV_STORE_MISALIGNED = 6, RV_STORE_ACCESS = 7,
    RV_ECALL_U = 8, RV_ECALL_S = 9, RV_ECALL_M = 11,
    RV_INSN_PAGE = 12, RV_LOAD_PAGE = 13, RV_STORE_PAGE = 15,
};
enum { RV_SSI = 1, RV_MSI = 3, RV_STI = 5, RV_MTI = 7, RV_SEI = 9, RV_MEI = 11, RV_LCOFI = 13 };

#define RV_CAUSE_INTERRUPT ((uint64_t)1 << 63)

/* mstatus, priv 3.1.6 */
#define RV_MSTATUS_SIE ((uint64_t)1 << 1)
#define RV_MSTATUS_MIE ((uint64_t)1 << 3)
#define RV_MSTATUS_SPIE ((uint64_t)1 << 5)
#define RV_MSTATUS_UBE ((uint64_t)1 << 6)
#define RV_MSTATUS_MPIE ((uint64_t)1 << 7)
#define RV_MSTATUS_SPP ((uint64_t)1 << 8)
#define RV_MSTATUS_VS ((uint64_t)3 << 9)
#define RV_MSTATUS_MPP ((uint64_t)3 << 11)
#define RV_MSTATUS_FS ((uint64_t)3 << 13)
#define RV_MSTATUS_MPRV ((uint64_t)1 << 17)
#define RV_MSTATUS_SUM ((uint64_t)1 << 18)
#define RV_MSTATUS_MXR ((uint64_t)1 << 19)
#define RV_MSTATUS_TVM ((uint64_t)1 << 20)
#define RV_MSTATUS_TW ((uint64_t)1 << 21)
#define RV_MSTATUS_TSR ((uint64_t)1 << 22)
#define RV_MSTATUS_UXL ((uint64_t)3 << 32)
#define RV_MSTATUS_SXL ((uint64_t)3 << 34)
#define RV_MSTATUS_SD ((uint64_t)1 << 63)
/* Of these is sstatus made (4.1.1); what software may change there. */
#define RV_SSTATUS_WRITABLE                                                                        \
    (RV_MSTATUS_SIE | RV_MSTATUS_SPIE | RV_MSTATUS_SPP | RV_MSTATUS_FS | RV_MSTATUS_SUM |          \
     RV_MSTATUS_MXR)
#define RV_SSTATUS_VISIBLE (RV_SSTATUS_WRITABLE | RV_MSTATUS_UXL | RV_MSTATUS_SD)

/* menvcfg and senvcfg, priv 3.1.18 */
#define RV_ENVCFG_FIOM ((uint64_t)1 << 0)
#define RV_ENVCFG_CBIE ((uint64_t)3 << 4)
#define RV_ENVCFG_CBCFE ((uint64_t)1 << 6)
#define RV_ENVCFG_CBZE ((uint64_t)1 << 7)
#define RV_ENVCFG_ADUE ((uint64_t)1 << 61)
#define RV_ENVCFG_PBMTE ((uint64_t)1 << 62)
#define RV_ENVCFG_STCE ((uint64_t)1 << 63)

enum { RV_BARE = 0, RV_SV39 = 8, RV_SV48 = 9, RV_SV57 = 10 }; /* satp.MODE, priv 4.1.11 */
enum { RV_N_PMP = 64, RV_N_TRIGGERS = 4, RV_N_COUNTERS = 32 };
enum { RV_TIMEBASE_HZ = 10000000 };
enum rv_cbo { RV_CBO_INVAL, RV_CBO_CLEAN, RV_CBO_FLUSH, RV_CBO_ZERO };

/* ---- the state word (riscv_cpu.flags) ----------------------------------------------------------
 * All that a translation depends on besides the instructions. Kept ready: everyone who changes one of
 * its sources calls riscv_update_flags. */
enum {
    RV_FLAG_PRIV_MASK = 3, /* RV_U, RV_S, RV_M */
    RV_FLAG_VIRT = 1 << 2, /* room for the hypervisor extension; always 0 now */
    RV_FLAG_FS_ON = 1 << 3,    /* else floating-point instructions are illegal */
    RV_FLAG_FS_DIRTY = 1 << 4, /* else call fs_dirty before writing floating-point state */
                               /* Both 0 in S-mode: kernels use few such instructions, which look
                                  themselves, and switch FS at every entry and exit. */
    RV_FLAG_VS_ON = 1 << 5,    /* room for vectors; always 0 now */
    RV_FLAG_VS_DIRTY = 1 << 6,
    RV_FLAG_FRM_SHIFT = 7, /* 3 bits: fcsr.frm; 5..7 make rm=dyn illegal */
    RV_FLAG_FRM_MASK = 7 << 7,
    RV_FLAG_COUNT = 1 << 10, /* instructions are counted exactly */
    RV_FLAG_TRIGGER_EXEC = 1 << 11,
    RV_FLAG_TRIGGER_DATA = 1 << 12,
    RV_FLAG_CBZE = 1 << 13, /* else cbo.zero is illegal */
};
static inline unsigned rv_flags_priv(uint32_t flags)
{
    return flags & RV_FLAG_PRIV_MASK;
}
static inline unsigned rv_flags_frm(uint32_t flags)
{
    return (flags & RV_FLAG_FRM_MASK) >> RV_FLAG_FRM_SHIFT;
}

/* ---- slots: guest state as the IR sees it ------------------------------------------------------ */
enum {
    RV_SLOT_X = 0, /* x0 is there to make numbers equal and is never used */
    RV_SLOT_F = 32,
    RV_SLOT_RES_ADDR = 64,
    RV_SLOT_RES_VALUE,
    RV_SLOT_TMP, /* 4 of them: values that cross blocks inside an instruction */
    RV_SLOT_SSCRATCH = RV_SLOT_TMP + 4,
    RV_SLOT_SEPC,
    RV_SLOT_SCAUSE,
    RV_SLOT_STVAL,
    RV_SLOT_MSCRATCH,
    RV_SLOT_MEPC,
    RV_SLOT_MCAUSE,
    RV_SLOT_MTVAL,
    RV_SLOT_MSTATUS,
    RV_SLOT_MIE,
    RV_SLOT_MIP, /* never set in the IR: other threads change these two */
    RV_SLOT_MIP_LINES,
    RV_SLOT_SUM_USED,
    RV_SLOT_FS_SEEN, /* not state: what the block has found FS to be (1: not off, 3: dirty) */
    N_RV_SLOTS
};
extern const struct ir_slot riscv_slots[N_RV_SLOTS];

/* ---- a CPU ------------------------------------------------------------------------------------- */
/* One performance counter: cycle, instret, or mhpmcounter3 and up (Sscofpmf). While it runs its value
 * is `value` plus what its source advanced since `since`. */
struct riscv_counter {
    uint64_t value, event; /* event: mhpmevent */
    uint64_t since;        /* derived when loaded */
    bool running;          /* derived */
};
struct riscv_trigger {
    uint64_t tdata1, tdata2, tdata3;
};

struct riscv_cpu {
    uint64_t x[32]; /* x[0] stays 0 */
    uint64_t f[32]; /* narrower values are NaN-boxed */
    uint64_t pc;
    uint64_t res_addr, res_value; /* reservation of lr: virtual address, or all ones: none */
    uint64_t tmp[4];
    uint32_t flags; /* the state word; derived */
    uint8_t priv;   /* RV_U, RV_S, RV_M */
    uint8_t frm;
    uint8_t fflags; /* while running the translator holds them: tcg_fp_flags */

    uint64_t mstatus; /* SD kept ready */
    uint64_t mtvec, mscratch, mepc, mcause, mtval;
    uint64_t stvec, sscratch, sepc, scause, stval;
    uint64_t medeleg, mideleg, mie;
    _Atomic uint64_t mip;       /* bits that software sets */
    _Atomic uint64_t mip_lines; /* bits that wires and timers drive; mip reads as the union */
    uint64_t menvcfg, senvcfg, mseccfg;
    uint64_t satp, stimecmp;
    uint64_t mcounteren, scounteren, mcountinhibit;
    struct riscv_counter counters[RV_N_COUNTERS]; /* 1 (time) is unused */
    uint8_t pmpcfg[RV_N_PMP];
    uint64_t pmpaddr[RV_N_PMP];
    uint64_t tselect;
    struct riscv_trigger triggers[RV_N_TRIGGERS];
    uint64_t miselect, siselect; /* AIA */
    bool counting;               /* software looks at instret: count exactly */
    bool local_filled; /* a supervisor's context may hold mappings that are not global */

    /* ---- derived, or not the CPU's state ---- */
    struct vcpu *cpu;
    const struct riscv_model *model;
    uint64_t ext[(N_RV_EXTS + 63) / 64]; /* as model's: one load for rv_has */
    uint64_t data_key, fetch_key;        /* what the translator was told last */
    uint8_t n_pmp_used;                  /* entries from here on are all off */
    uint64_t sum_used;    /* user pages may have been remembered since SUM was last cleared */
    bool trigger_armed;   /* some trigger may fire in some mode */
    bool pmu_filters; /* a running counter counts in some modes only: look at changes of mode */
    struct timer *stimecmp_timer, *pmu_timer;
    pthread_mutex_t timer_lock; /* stimecmp against its timer */
    const struct riscv_imsic_ops *imsic;
    void *imsic_opaque;
    uint8_t wfis_in_vain; /* WFIs in a row that found an interrupt pending which was not taken */
    _Atomic uint32_t n_futile_traps; /* see riscv_trap: handlers that fault on their first instruction */
};

static inline struct riscv_cpu *riscv_of(struct vcpu *cpu)
{
    return cpu->arch;
}

/* ---- CPU models: per VM -------------------------------------------------------------------------- */
struct riscv_model {
    const char *name;
    uint64_t ext[(N_RV_EXTS + 63) / 64];
    uint8_t satp_mode; /* the widest: RV_BARE, RV_SV39, ... */
    uint8_t n_pmp;     /* 0, 16 or 64 */
    uint8_t n_hpm;     /* mhpmcounter3.. that count */
    uint16_t cbom_block, cbop_block, cboz_block; /* bytes */
    uint64_t mvendorid, marchid, mimpid;
};
/* Behind vm->arch. */
struct riscv_vm {
    struct riscv_model model;
    uint64_t (*read_time)(void *opaque); /* mtime, RV_TIMEBASE_HZ; any thread */
    void *time_opaque;
    struct decoder *decode16, *decode32; /* of the model's instructions; riscv_init_decoders */
    struct debug_reg *debug_regs;        /* gdb.c: made when a debugger asks */
    unsigned n_debug_regs;
};
static inline bool rv_model_has(const struct riscv_model *m, enum rv_ext e)
{
    return m->ext[e / 64] >> e % 64 & 1;
}
static inline bool rv_has(const struct riscv_cpu *r, enum rv_ext e)
{
    return r->ext[e / 64] >> e % 64 & 1;
}

/* ---- boards -------------------------------------------------------------------------------------- */
/* Where mtime comes from; before vCPUs are made. read_time takes no lock. Default: the guest clock. */
void riscv_set_time_source(struct vm *vm, uint64_t (*read_time)(void *opaque), void *opaque);
/* mtime jumped: look at every stimecmp again. Any thread. */
void riscv_time_changed(struct vm *vm);
/* Drive a wire of mip: RV_MSI, RV_MTI, RV_MEI, RV_SEI. Any thread. */
void riscv_set_irq(struct vcpu *cpu, unsigned bit, bool level);
/* An edge that sets a bit of mip which software clears: RV_SSI (ACLINT SSWI). Any thread. */
void riscv_raise_pending(struct vcpu *cpu, unsigned bit);
/* The hart's power-on pc and arguments; after each reset, vCPU stopped. */
void riscv_place(struct vcpu *cpu, uint64_t pc, uint64_t a0, uint64_t a1);

/* For the device tree. The text of riscv,isa; caller frees. */
char *riscv_isa_string(const struct riscv_model *m);
/* The i'th name of riscv,isa-extensions, or NULL behind the last. */
const char *riscv_isa_extension(const struct riscv_model *m, unsigned i);
/* "riscv,sv48", "riscv,none" */
const char *riscv_mmu_type(const struct riscv_model *m);
const struct riscv_model *riscv_model_of(const struct vm *vm);
/* Switch an extension that the board decides about (AIA); after cpu_model, before vCPUs. */
void riscv_set_ext(struct vm *vm, enum rv_ext e, bool on);

/* The interrupt files of one hart (an IMSIC), reached through CSRs. vCPU's thread. */
struct riscv_imsic_ops {
    /* Register `select` (0x70..0xff) of the M (machine) or S file: new = (old & ~mask) | (v & mask).
     * Returns old in *old; false if there is no such register. */
    bool (*access)(void *opaque, bool machine, unsigned select, uint64_t mask, uint64_t v,
                   uint64_t *old);
    /* Value of mtopei or stopei; `claim` clears its pending bit. */
    uint64_t (*topei)(void *opaque, bool machine, bool claim);
};
void riscv_set_imsic(struct vcpu *cpu, const struct riscv_imsic_ops *ops, void *opaque);

/* ---- helpers of translated code --------------------------------------------------------------- */
#define RV_HELPER(name, result, parameters, n, flags)                                              \
    result rvh_##name parameters;                                                                  \
    extern const struct ir_helper rv_helper_##name;
#include "target/riscv/helpers.h"
#undef RV_HELPER
extern const struct ir_helper *const riscv_helpers[];
enum {
#define RV_HELPER(name, result, parameters, n, flags) RV_HELPER_##name,
#include "target/riscv/helpers.h"
#undef RV_HELPER
    N_RISCV_HELPERS
};

/* First operand of the csr helpers for an instruction that the unit goes on behind: rd and the state
 * word that the unit was translated for. */
#define RV_CSR_STAY(csr, rd, flags) ((uint64_t)(csr) | (uint64_t)(rd) << 12 | 1 << 17 | (uint64_t)(flags) << 32)

/* Formats are numbered as enum sf_format, rounding modes as frm. */
#define RV_FP(format, rounding) ((format) | (rounding) << 8)
enum { RV_FP_NEG_PRODUCT = 1 << 16, RV_FP_NEG_ADDEND = 1 << 17 };

/* ---- the translator's half (decode and translate) ----------------------------------------------- */
/* Make the VM's decoders if there are none yet: once its extensions are settled, before a vCPU runs.
 * And free them. */
void riscv_init_decoders(struct riscv_vm *rv);
void riscv_free_decoders(struct riscv_vm *rv);
void riscv_scan(struct vcpu *cpu, uint32_t flags, const uint8_t *bytes, size_t n, int32_t off,
                struct insn_scan *out);
void riscv_translate(struct tr *t, const struct insn_scan *insn);
void riscv_begin_unit(struct tr *t);

/* ---- between the parts of the CPU ---------------------------------------------------------------- */
/* A write of this CSR changes neither the state word nor translation nor what is pending: the unit may
 * go on behind it. */
bool riscv_csr_is_plain(unsigned csr);
/* Recompute the state word, and tell the translator if something it looks at changed. */
void riscv_update_flags(struct riscv_cpu *r);

/* Enter a trap; pc is where it happened. Sets pc, priv, flags. */
void riscv_trap(struct riscv_cpu *r, uint64_t cause, uint64_t pc, uint64_t tval);
/* Inside a RAISES helper: the trap of this instruction. */
noreturn void riscv_raise(struct riscv_cpu *r, enum rv_cause cause, uint64_t tval);
/* As riscv_raise for the instruction's own bits, which are read from guest memory. */
noreturn void riscv_raise_illegal(struct riscv_cpu *r);
/* Change privilege (counters by mode follow). */
void riscv_set_priv(struct riscv_cpu *r, unsigned priv);
bool riscv_take_interrupt(struct vcpu *cpu);
bool riscv_has_work(struct vcpu *cpu);
uint64_t riscv_pending(const struct riscv_cpu *r); /* mip as it reads */

bool riscv_translate_address(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                             struct tlb_fill *out);
void riscv_raise_memory(struct vcpu *cpu, uint64_t va, enum access access, int kind, int fault);
uint64_t riscv_context_key(struct vcpu *cpu, int mode);
/* struct target's translate. */
bool riscv_debug_translate(struct vcpu *cpu, uint64_t va, uint64_t *physical);
bool riscv_user_key(struct vcpu *cpu, uint64_t *key);

/* gdb.c */
extern const struct target_debug riscv_debug;
extern const struct target_paging riscv_paging;
void riscv_free_debug_regs(struct riscv_vm *v);

extern const struct target riscv64_target;
extern const struct tcg_target riscv64_tcg_target;
