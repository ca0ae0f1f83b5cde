/* The 64-bit Arm CPU as an engine hands it over: general registers by name, all others by the number that the
 * engine in charge has for them. There is no translator for it yet, so this is all there is of the target; names
 * are those of the Arm Architecture Reference Manual (DDI 0487). */
#pragma once

#include "core/vcpu.h"

enum { ARM_N_SPSR = 5, ARM_N_OTHER = 640 };

/* Lines into the CPU, B1.3.6 of the GIC specification (IHI 0069): levels. */
enum { ARM_IRQ = 1 << 0, ARM_FIQ = 1 << 1 };
/* Lines out of it, to an interrupt controller in user space. */
enum { ARM_OUT_VTIMER = 1 << 0, ARM_OUT_PTIMER = 1 << 1, ARM_OUT_PMU = 1 << 2 };

struct arm_other_reg {
    uint64_t id; /* engine's */
    uint64_t value;
};

struct arm_cpu {
    uint64_t x[31], sp_el0, pc, pstate;
    uint64_t sp_el1, elr_el1, spsr[ARM_N_SPSR]; /* EL1, abt, und, irq, fiq */
    uint8_t v[32][16];
    uint32_t fpsr, fpcr;
    struct arm_other_reg other[ARM_N_OTHER];
    uint32_t n_other;
    bool powered_off; /* waits for PSCI's CPU_ON */

    /* ---- not the CPU's state ---- */
    struct vcpu *cpu;
    _Atomic uint32_t lines;                         /* ARM_IRQ, ARM_FIQ; driven by the board */
    void (*outputs)(void *opaque, uint32_t now);    /* ARM_OUT_*; vCPU's thread; NULL: nobody listens */
    void *outputs_opaque;
};

static inline struct arm_cpu *arm_of(struct vcpu *cpu)
{
    return cpu->arch;
}
