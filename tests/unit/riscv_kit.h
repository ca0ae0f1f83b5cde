/* A RISC-V hart for tests of its privileged half. The translator's services are stand-ins that count. */
#pragma once

#include "board.h"

#include "core/accel.h"
#include "target/riscv/rv_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum outcome { CAME_BACK, LEFT, HALTED };

struct kit {
    struct board *b;
    struct accel accel;
    struct vcpu *cpu;
    struct riscv_cpu *r;
    jmp_buf left;
    uint64_t insn_pc, n_insns;
    uint8_t fp_flags;
    unsigned flushes, page_flushes, context_flushes, drops, changes, roundings, interrupts;
    uint64_t flush_mask, flush_value;
    bool counting;
};
extern struct kit *kit; /* the test's, for the stand-ins */

struct kit *kit_with(const char *model);
struct kit *kit_new(void);
void kit_free(struct kit *k);

/* How a call that may leave the hart's code came to its end. */
#define OUTCOME(call)                                        \
    ({                                                       \
        enum outcome how_ = (enum outcome)setjmp(kit->left); \
        if (how_ == CAME_BACK)                               \
            call;                                            \
        how_;                                                \
    })

void mode(struct kit *k, unsigned priv);
/* CSRs: whether it is legal; its value; with a value; and what it has become. */
bool try_write(struct kit *k, unsigned csr, uint64_t v);
bool try_read(struct kit *k, unsigned csr);
uint64_t rd(struct kit *k, unsigned csr);
void wr(struct kit *k, unsigned csr, uint64_t v);
uint64_t wrrd(struct kit *k, unsigned csr, uint64_t v);

enum {
    FFLAGS = 1,
    FRM = 2,
    FCSR = 3,
    SEED = 0x15,
    SSTATUS = 0x100,
    SIE = 0x104,
    STVEC = 0x105,
    SCOUNTEREN = 0x106,
    SENVCFG = 0x10a,
    SSCRATCH = 0x140,
    SEPC = 0x141,
    SIP = 0x144,
    STIMECMP = 0x14d,
    SATP = 0x180,
    SCOUNTOVF = 0xda0,
    CYCLE = 0xc00,
    TIME = 0xc01,
    INSTRET = 0xc02,
    HPMCOUNTER3 = 0xc03,
    MHARTID = 0xf14,
    MSTATUS = 0x300,
    MISA = 0x301,
    MEDELEG = 0x302,
    MIDELEG = 0x303,
    MIE = 0x304,
    MTVEC = 0x305,
    MCOUNTEREN = 0x306,
    MENVCFG = 0x30a,
    MCOUNTINHIBIT = 0x320,
    MHPMEVENT3 = 0x323,
    MSCRATCH = 0x340,
    MEPC = 0x341,
    MIP = 0x344,
    MSECCFG = 0x747,
    PMPCFG0 = 0x3a0,
    PMPADDR0 = 0x3b0,
    TSELECT = 0x7a0,
    TDATA1 = 0x7a1,
    TDATA2 = 0x7a2,
    MCYCLE = 0xb00,
    MINSTRET = 0xb02,
    MHPMCOUNTER3 = 0xb03,
    SISELECT = 0x150,
    SIREG = 0x151,
    STOPEI = 0x15c,
    STOPI = 0xdb0,
    MVIEN = 0x308,
};

static const uint64_t all_ones = ~(uint64_t)0;
