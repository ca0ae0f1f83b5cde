/* Between the files of the RISC-V CPU only: counters and timers, PMP, triggers, interrupts. */
#pragma once

#include "target/riscv/riscv.h"

#define RV_BIT(irq) ((uint64_t)1 << (irq))
#define RV_MSECCFG_USEED ((uint64_t)1 << 8)
#define RV_MSECCFG_SSEED ((uint64_t)1 << 9)

/* ---- mmu.c ---- */
/* The address space is about to be another one: drop what a supervisor's context knows of this one
 * alone. */
void riscv_forget_local(struct riscv_cpu *r);

/* ---- csr.c ---- */
/* A CSR access by the mode the CPU is in. False: it is illegal, nothing happened. *old is what it read
 * as, if read or part of it was kept. */
bool riscv_csr_access(struct riscv_cpu *r, unsigned csr, bool read, bool write, uint64_t v,
                      uint64_t mask, uint64_t *old);

/* ---- counters.c ---- */
uint64_t riscv_read_time(const struct riscv_cpu *r);
/* Is STIP driven by stimecmp? */
bool riscv_has_stimecmp(const struct riscv_cpu *r);
/* stimecmp, its enable, or time changed: set STIP and the timer. Any thread. */
void riscv_stimecmp_changed(struct vcpu *cpu);
uint64_t riscv_counter_read(struct riscv_cpu *r, unsigned i);
void riscv_counter_write(struct riscv_cpu *r, unsigned i, uint64_t v);
void riscv_counter_set_event(struct riscv_cpu *r, unsigned i, uint64_t event);
bool riscv_counter_counts_instructions(const struct riscv_cpu *r, unsigned i);
void riscv_start_counting(struct riscv_cpu *r);
/* Bring values up to now; overflows take effect. */
void riscv_counters_sync(struct riscv_cpu *r);
/* What runs may have changed (inhibit, event, mode): after a change. */
void riscv_counters_changed(struct riscv_cpu *r);
/* Values were loaded: go on from them. */
void riscv_counters_loaded(struct riscv_cpu *r);
void riscv_counters_init(struct riscv_cpu *r);
void riscv_counters_free(struct riscv_cpu *r);

/* ---- pmp.c: priv 3.7 ---- */
enum { RV_PMP_R = 1, RV_PMP_W = 2, RV_PMP_X = 4, RV_PMP_RWX = 7 };
void riscv_pmp_set_cfg(struct riscv_cpu *r, unsigned i, uint8_t cfg);
void riscv_pmp_set_addr(struct riscv_cpu *r, unsigned i, uint64_t addr);
void riscv_pmp_changed(struct riscv_cpu *r);
/* Recompute n_pmp_used. */
void riscv_pmp_count(struct riscv_cpu *r);
/* What `priv` may do at pa. *size (a power of two, at least 4) shrinks to the aligned block around pa
 * in which the answer is the same. */
unsigned riscv_pmp_rights(const struct riscv_cpu *r, uint64_t pa, unsigned priv, uint64_t *size);

/* ---- trigger.c ---- */
uint64_t riscv_trigger_legal(uint64_t tdata1);
/* Recompute trigger_armed. */
void riscv_triggers_changed(struct riscv_cpu *r);
/* RV_FLAG_TRIGGER_* as the current mode needs them. */
uint32_t riscv_trigger_flags(const struct riscv_cpu *r);

/* ---- trap.c ---- */
/* The interrupt of this set that comes first, or -1. */
int riscv_first_interrupt(uint64_t set);
/* The interrupt to be taken now, or -1. */
int riscv_interrupt_due(const struct riscv_cpu *r);
/* Rights to interrupt changed: make the run loop look if one is due. */
void riscv_check_interrupts(struct riscv_cpu *r);

/* ---- cpu.c ---- */
uint32_t riscv_compute_flags(const struct riscv_cpu *r);
