/* The x86-64 CPU: its architectural state, complete for every engine, its models and their CPUID, and
 * what boards wire to it. "SDM" is Intel's Software Developer's Manual, "APM" AMD's Architecture
 * Programmer's Manual. */
#pragma once

#include "core/vcpu.h"

struct x86_model;

/* ---- numbers --------------------------------------------------------------------------------- */
enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI }; /* then R8..R15 */
enum { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, N_X86_SEGS }; /* as instructions number them */

/* RFLAGS, SDM 1-3.4.3 */
enum {
    X86_FLAG_CF = 1 << 0, X86_FLAG_ONE = 1 << 1, X86_FLAG_PF = 1 << 2, X86_FLAG_AF = 1 << 4,
    X86_FLAG_ZF = 1 << 6, X86_FLAG_SF = 1 << 7, X86_FLAG_TF = 1 << 8, X86_FLAG_IF = 1 << 9,
    X86_FLAG_DF = 1 << 10, X86_FLAG_OF = 1 << 11, X86_FLAG_IOPL = 3 << 12, X86_FLAG_NT = 1 << 14,
    X86_FLAG_RF = 1 << 16, X86_FLAG_VM = 1 << 17, X86_FLAG_AC = 1 << 18, X86_FLAG_VIF = 1 << 19,
    X86_FLAG_VIP = 1 << 20, X86_FLAG_ID = 1 << 21,
};

/* CR0 and CR4, SDM 3-2.5; EFER, APM 2-3.1.7 */
#define X86_CR0_PE ((uint64_t)1 << 0)
#define X86_CR0_MP ((uint64_t)1 << 1)
#define X86_CR0_EM ((uint64_t)1 << 2)
#define X86_CR0_TS ((uint64_t)1 << 3)
#define X86_CR0_ET ((uint64_t)1 << 4)
#define X86_CR0_NE ((uint64_t)1 << 5)
#define X86_CR0_WP ((uint64_t)1 << 16)
#define X86_CR0_AM ((uint64_t)1 << 18)
#define X86_CR0_NW ((uint64_t)1 << 29)
#define X86_CR0_CD ((uint64_t)1 << 30)
#define X86_CR0_PG ((uint64_t)1 << 31)
#define X86_CR4_VME ((uint64_t)1 << 0)
#define X86_CR4_PVI ((uint64_t)1 << 1)
#define X86_CR4_TSD ((uint64_t)1 << 2)
#define X86_CR4_DE ((uint64_t)1 << 3)
#define X86_CR4_PSE ((uint64_t)1 << 4)
#define X86_CR4_PAE ((uint64_t)1 << 5)
#define X86_CR4_MCE ((uint64_t)1 << 6)
#define X86_CR4_PGE ((uint64_t)1 << 7)
#define X86_CR4_PCE ((uint64_t)1 << 8)
#define X86_CR4_OSFXSR ((uint64_t)1 << 9)
#define X86_CR4_OSXMMEXCPT ((uint64_t)1 << 10)
#define X86_CR4_UMIP ((uint64_t)1 << 11)
#define X86_CR4_LA57 ((uint64_t)1 << 12)
#define X86_CR4_FSGSBASE ((uint64_t)1 << 16)
#define X86_CR4_PCIDE ((uint64_t)1 << 17)
#define X86_CR4_OSXSAVE ((uint64_t)1 << 18)
#define X86_CR4_SMEP ((uint64_t)1 << 20)
#define X86_CR4_SMAP ((uint64_t)1 << 21)
#define X86_CR4_PKE ((uint64_t)1 << 22)
#define X86_CR4_CET ((uint64_t)1 << 23)
#define X86_EFER_SCE ((uint64_t)1 << 0)
#define X86_EFER_LME ((uint64_t)1 << 8)
#define X86_EFER_LMA ((uint64_t)1 << 10)
#define X86_EFER_NXE ((uint64_t)1 << 11)
#define X86_EFER_SVME ((uint64_t)1 << 12)
#define X86_EFER_FFXSR ((uint64_t)1 << 14)

#define X86_APIC_BASE_DEFAULT ((uint64_t)0xfee00000) /* SDM 3-11.4.1 */
#define X86_APIC_BASE_BSP ((uint64_t)1 << 8)
#define X86_APIC_BASE_X2APIC ((uint64_t)1 << 10)
#define X86_APIC_BASE_ENABLE ((uint64_t)1 << 11)

/* Access rights of a segment as the upper half of a descriptor has them, shifted right by 8 (SDM
 * 3-25.4.1, which adds "unusable": a null selector was loaded). */
enum {
    X86_AR_TYPE = 0xf, X86_AR_S = 1 << 4, X86_AR_DPL_SHIFT = 5, X86_AR_P = 1 << 7,
    X86_AR_AVL = 1 << 12, X86_AR_L = 1 << 13, X86_AR_DB = 1 << 14, X86_AR_G = 1 << 15,
    X86_AR_UNUSABLE = 1 << 16,
};

enum { X86_N_FIXED_MTRRS = 11, X86_N_MTRRS = 8, X86_N_MC_BANKS = 10, X86_N_OTHER_MSRS = 64 };
enum { X86_N_PMU_COUNTERS = 8, X86_N_PMU_FIXED = 4 };
enum { X86_LAPIC_PAGE = 1024 };

/* XSAVE components that have fields of their own below (SDM 1-13.1). */
enum {
    X86_XSAVE_X87 = 1 << 0, X86_XSAVE_SSE = 1 << 1, X86_XSAVE_AVX = 1 << 2,
    X86_XSAVE_OPMASK = 1 << 5, X86_XSAVE_ZMM_HIGH = 1 << 6, X86_XSAVE_HIGH_ZMM = 1 << 7,
    X86_XSAVE_PKRU = 1 << 9,
    X86_XSAVE_CET_U = 1 << 11, X86_XSAVE_CET_S = 1 << 12, /* supervisor components: XSS */
};
#define X86_XSAVE_NAMED                                                                            \
    (X86_XSAVE_X87 | X86_XSAVE_SSE | X86_XSAVE_AVX | X86_XSAVE_OPMASK | X86_XSAVE_ZMM_HIGH |       \
     X86_XSAVE_HIGH_ZMM | X86_XSAVE_PKRU)

/* ---- state ----------------------------------------------------------------------------------- */
struct x86_segment {
    uint64_t base;
    uint32_t limit; /* in bytes, whatever G says */
    uint32_t rights;
    uint16_t selector;
};
struct x86_table {
    uint64_t base;
    uint16_t limit;
};

/* What the CPU was about to do, and what it is not to do yet. */
struct x86_events {
    bool exception_pending, exception_injected, exception_has_error, exception_has_payload;
    uint8_t exception;
    uint32_t exception_error;
    uint64_t exception_payload;
    bool interrupt_injected, interrupt_soft;
    uint8_t interrupt;
    bool shadow_sti, shadow_mov_ss; /* interrupts are held back for one instruction */
    bool nmi_injected, nmi_pending, nmi_masked;
    bool in_smm, smi_pending, smi_inside_nmi, latched_init;
    bool triple_fault;
    uint8_t sipi_vector;
};

/* Values are KVM's, which are also those of its documentation: an engine need not know more. */
enum x86_run_state {
    X86_RUNNABLE,
    X86_WAIT_INIT,  /* an application processor after power-on: waits for INIT and SIPI */
    X86_INIT_TAKEN, /* waits for SIPI */
    X86_HLT,
    X86_SIPI_TAKEN,
};

/* A guest's guest, APM 2-15: what VMRUN took from the VMCB, and the host's state that #VMEXIT brings back. */
struct x86_svm {
    bool gif, in_guest, np;
    uint32_t intercept[5]; /* VMCB 0x000: CR, DR, exceptions, 0x00c, 0x010 */
    uint32_t asid;
    uint64_t vmcb, iopm, msrpm, tsc_offset, int_ctl, ncr3;
    struct x86_segment seg[4]; /* ES, CS, SS, DS */
    struct x86_table gdt, idt;
    uint64_t cr0, cr3, cr4, efer, rflags, rip, rsp, rax, pat, s_cet, ssp, int_ssp_table;
};

struct x86_other_msr {
    uint32_t index;
    uint64_t value;
};

struct x86_cpu {
    /* On the translator, while it runs (docs/x86-translator.md); nothing otherwise. pc is linear. Code is shorter where
     * offsets are below 128: what is set most comes first. */
    uint64_t cc_op, cc_dst, cc_src, cc_aux;
    uint64_t gpr[16]; /* as instructions number them */
    uint64_t pc, df, tmp[4]; /* of the translator, too */
    uint32_t state_word; /* X86_TR_* */
    uint8_t fp_flags;    /* sticky exceptions, SF_* */
    uint64_t rip, rflags;
    struct x86_segment seg[N_X86_SEGS], tr, ldt;
    struct x86_table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, xcr0;
    uint64_t dr[4], dr6, dr7;
    uint64_t efer, apic_base;
    uint64_t pdptr[4]; /* PAE paging's, loaded with CR3 (SDM 3-4.4.1) */
    bool pdptrs_valid;

    /* x87: st[i] is ST(i) as FXSAVE stores it, 80 bits in 16 bytes. ftw: one bit a register, 1 is used,
     * by physical number. */
    uint8_t st[8][16];
    uint16_t fcw, fsw, fop;
    uint8_t ftw;
    uint64_t fip, fdp;
    bool st_physical; /* on the translator, while it runs: st[] is by physical number (x87.h) */
    uint16_t x87_fsw; /* and what the status word will be when a store is done, */
    uint16_t x87_high; /* of which these are the upper bytes */
    uint32_t mxcsr;
    _Alignas(64) uint8_t zmm[32][64]; /* xmm and ymm are their low halves */
    uint64_t k[8];
    uint32_t pkru;
    uint64_t ssp; /* shadow stack pointer */
    uint64_t xinuse; /* XSAVE components not in their initial state */
    /* An XSAVE image in standard format that holds the components without fields above (AMX tiles, ...);
     * NULL where the CPU has none. */
    uint8_t *xsave_rest;
    uint32_t n_xsave_rest;
    /* What a guest that is itself a hypervisor has under way, in the form of the engine in charge; NULL: it
     * is none. */
    uint8_t *nested;
    uint32_t n_nested;

#define X86_MSR(index, name, reset) uint64_t name;
#include "target/x86_64/msrs.h"
#undef X86_MSR
    uint64_t mtrr_fixed[X86_N_FIXED_MTRRS];
    uint64_t mtrr_base[X86_N_MTRRS], mtrr_mask[X86_N_MTRRS];
    uint64_t mc[4 * X86_N_MC_BANKS]; /* CTL, STATUS, ADDR, MISC of each bank */
    uint64_t pmc[X86_N_PMU_COUNTERS], pmc_event[X86_N_PMU_COUNTERS], pmc_fixed[X86_N_PMU_FIXED];
    /* Registers that only the engine in charge knows. */
    struct x86_other_msr other_msrs[X86_N_OTHER_MSRS];
    uint32_t n_other_msrs;

    struct x86_svm svm;
    struct x86_events events;
    _Atomic uint8_t run_state; /* enum x86_run_state; written on the vCPU's thread or while stopped */
    uint8_t lapic[X86_LAPIC_PAGE]; /* registers of a local APIC inside the engine; else zero */

    /* ---- derived, or not the CPU's state ---- */
    struct vcpu *cpu;
    const struct x86_model *model;
    uint32_t apic_id; /* x86_apic_id_of */
    /* What boards drive: X86_INTR is a level, the others are requests that the engine takes. */
    _Atomic uint32_t lines;
    _Atomic uint32_t sipi;       /* vector of the last start-up request */
    _Atomic bool takes_intr;     /* as of the last halt: IF was set. For has_work while the engine runs */
    _Atomic uint32_t deaf_lines; /* as of the last halt: requests that would not end it */
    const struct x86_apic_ops *apic; /* NULL: in the engine, or none */
    void *apic_opaque;
    const struct x86_apic_ops *followed; /* in lock-step: the APIC itself, whose answers `apic` keeps (follow.c) */
    void *followed_opaque;
    bool followed_pending; /* in lock-step, of a CPU without APIC: what the other's has */
    void (*ferr)(void *opaque, bool level); /* NULL: not wired */
    void *ferr_opaque;

    /* ---- the translator's, derived ---- */
    uint64_t context_keys[4];  /* as last told: fetches, and by mode */
    uint64_t code_limit;       /* IP up to which whole pages of CS reach; see x86h_check_code */
    bool code_ends_here;       /* the page of pc has the end of CS */
    uint64_t shadow_pc;        /* behind the last STI or MOV SS: no interrupt is taken there */
    uint8_t shadow_left;       /* 0: none; 1: STI's; 2: MOV SS's, which holds back #DB, too */
    bool pc_known;             /* faults happen at pc (outside units, during delivery), not at tcg_insn_pc */
    bool stepping;             /* the running instruction began with TF: #DB behind it */
    uint64_t step_dr6;         /* what #DB behind it will say besides */
    int16_t delivering;        /* vector that is on its way, or -1 */
    bool delivery_external;
    uint64_t delivery_info;    /* of it, as EXITINTINFO says it */
    uint64_t nested_error, nested_gpa; /* of the last nested page fault */
    uint64_t last_guest[6];    /* what the translations that are remembered of guests depend on */
    bool local_filled;         /* a supervisor's context has pages that are not global, and its key not CR3 */
    bool keys_say_cr3;         /* the supervisor's, too: its pages are not global (page-table isolation) */
    uint8_t local_switches;    /* how often that was forgotten on a change of CR3 */
    uint16_t pkeys_filled;     /* protection keys of what contexts remember */
    bool is_down;              /* shut down by a triple fault: waits for the reset */
    struct {
        uint64_t tsc, tsc_adjust, cr8, next;
        uint16_t cleared; /* vector registers of which bits 256 and up are zero behind the instruction */
    } lender;                  /* of another engine, while it lends the CPU for an instruction */
    uint64_t smm_paging[4];    /* CR0, CR3, CR4 and EFER when an SMI was taken: the same when it ends, or forget */
    bool is_monitoring;        /* MONITOR was executed, of these bytes */
    uint64_t monitor_at, monitor_value;
};

static inline struct x86_cpu *x86_of(struct vcpu *cpu)
{
    return cpu->arch;
}

/* Model-specific registers by number. `*slot` points into the state. False for what is not held as plain
 * state: EFER, FS.base and such have places of their own, others do not exist. */
bool x86_msr_slot(struct x86_cpu *x, uint32_t index, uint64_t **slot);
/* The i'th register that x86_msr_slot knows; false behind the last. */
bool x86_msr_index(unsigned i, uint32_t *index);

/* CPL, SDM 3-5.5. */
static inline unsigned x86_cpl(const struct x86_cpu *x)
{
    return x->seg[X86_SS].rights >> X86_AR_DPL_SHIFT & 3;
}
/* 64, 32 or 16: how code is decoded. */
unsigned x86_code_bits(const struct x86_cpu *x);
/* Linear to physical by the CPU's page tables, without rights and side effects: for printing and
 * debugging. False if nothing is mapped. vCPU stopped, or its own thread. */
/* For lock-step: the flags that the manual leaves undefined behind the instruction at `code`, of n bytes, in the mode that
 * x is in; 0: none, or the code is none. */
uint64_t x86_undefined_flags(const struct x86_cpu *x, const uint8_t *code, size_t n);
bool x86_debug_translate(struct vcpu *cpu, uint64_t linear, uint64_t *physical);

/* ---- boards ------------------------------------------------------------------------------------ */
enum {
    X86_INTR = 1 << 0,
    X86_NMI = 1 << 1,
    X86_SMI = 1 << 2,
    X86_INIT = 1 << 3,
    X86_SIPI = 1 << 4,
};
/* Where maskable interrupts come from: a local APIC in user space, or a lone 8259 behind the INTR wire.
 * Called on the vCPU's thread with no lock held, only while the engine leaves interrupt controllers to user space. */
struct x86_apic_ops {
    /* Is there an interrupt that the priorities let through? Any thread; takes no lock. Whoever makes it
     * true calls vcpu_interrupt. */
    bool (*pending)(void *opaque);
    /* INTA: the vector to take now, which is then in service; -1 when there is none any more. */
    int (*acknowledge)(void *opaque);
    /* CR8, 0 to 15 (SDM 3-11.8.6). */
    uint8_t (*get_tpr)(void *opaque);
    void (*set_tpr)(void *opaque, uint8_t cr8);
    /* IA32_APIC_BASE was written; false: #GP. The value is kept in x86_cpu.apic_base. */
    bool (*set_base)(void *opaque, uint64_t value);
    /* x2APIC registers, MSRs 0x800 to 0x8ff, and the deadline, 0x6e0; false: #GP. */
    bool (*read_msr)(void *opaque, uint32_t index, uint64_t *value);
    bool (*write_msr)(void *opaque, uint32_t index, uint64_t value);
};
void x86_set_apic(struct vcpu *cpu, const struct x86_apic_ops *ops, void *opaque);
/* FERR#: an x87 exception is to be handled by an interrupt (CR0.NE is 0), or no longer. On the vCPU's thread. */
void x86_set_ferr(struct vcpu *cpu, void (*fn)(void *opaque, bool level), void *opaque);
/* Who is told when a CPU ends a level-triggered interrupt of an I/O APIC, where local APICs are the engine's
 * and the I/O APIC is a device (IRQCHIP_SPLIT). x86_end_of_interrupt: the engine, vCPU's thread. */
void x86_on_end_of_interrupt(struct vm *vm, void (*fn)(void *opaque, uint8_t vector), void *opaque);
void x86_end_of_interrupt(struct vm *vm, uint8_t vector);
/* Is a maskable interrupt offered, by the APIC or the wire? Any thread. */
static inline bool x86_has_interrupt(const struct x86_cpu *x)
{
    return atomic_load(&x->lines) & X86_INTR || (x->apic && x->apic->pending(x->apic_opaque));
}
/* The INTR wire of a CPU without a local APIC, or beside it. Any thread, device locks may be held. */
void x86_set_intr(struct vcpu *cpu, bool level);
/* Edges: X86_NMI, X86_SMI, X86_INIT. Any thread. */
void x86_raise(struct vcpu *cpu, uint32_t what);
/* A start-up IPI: begin at vector << 12 if the CPU waits for one. Any thread. */
void x86_start_up(struct vcpu *cpu, uint8_t vector);
/* The APIC ID of vCPU `index`: its place in the topology (x86_set_topology), bits of thread lowest. */
uint32_t x86_apic_id_of(const struct x86_model *m, unsigned index);
/* What INIT does to the CPU (SDM 3-10.1, table 10-1): engines call it on the vCPU's thread. */
void x86_init_signal(struct vcpu *cpu);
/* What a start-up IPI does to a CPU that waits for it. */
void x86_take_sipi(struct vcpu *cpu, uint8_t vector);
/* Enter 32-bit protected or 64-bit mode with flat segments: direct boot, after reset. `cr3` 0: no paging
 * (32-bit). */
void x86_place_flat(struct vcpu *cpu, uint64_t rip, uint64_t cr3);

extern const struct target_debug x86_debug; /* gdb.c */
extern const struct target_paging x86_paging; /* paging.c, as the next */
const char *x86_isa(struct vcpu *cpu);
extern const struct target x86_64_target;
