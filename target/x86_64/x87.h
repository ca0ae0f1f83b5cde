/* The x87 while a vCPU runs on the translator, and what else lives in its registers. */
#pragma once

#include "target/x86_64/x86.h"

/* While it runs, st[] holds physical registers (R0 to R7, SDM 1-8.1.2); ST(i) is the one at TOP + i. x86_settle
 * and x86_resume turn st[] and call these. */
void x87_settle(struct x86_cpu *x);
void x87_resume(struct x86_cpu *x);

/* MMX (SDM 1-9.2 and 3-12.2): MMn is the significand of Rn. Every MMX instruction calls x87_begin_mmx first
 * (helper x87_begin_mmx in IR, once NO_X87 of the state word was looked at): a pending exception is #MF, TOP
 * becomes 0, all registers valid. Then the registers; EMMS is helper x87_emms. */
void x87_begin_mmx(struct x86_cpu *x);
static inline uint64_t x87_get_mm(const struct x86_cpu *x, unsigned n)
{
    uint64_t v;
    memcpy(&v, x->st[n], 8);
    return v;
}
static inline void x87_set_mm(struct x86_cpu *x, unsigned n, uint64_t v)
{
    memcpy(x->st[n], &v, 8);
    memset(x->st[n] + 8, 0xff, 2);
}

/* MXCSR with the flags that translated code has raised so far; and set it (reserved bits are the caller's matter):
 * the state word may change. vCPU's thread, running. */
uint32_t x86_get_mxcsr(struct x86_cpu *x);
void x86_set_mxcsr(struct x86_cpu *x, uint32_t value);
enum { X86_MXCSR_VALID = 0xffff };
/* Which of these XSAVE components are not in their initial state (XINUSE). */
uint64_t x86_xinuse(struct x86_cpu *x, uint64_t of);

/* The arguments of helpers: what an instruction does. */
enum x87_kind { X87_F32, X87_F64, X87_F80, X87_I16, X87_I32, X87_I64, X87_BCD };
enum { X87_ADD, X87_MUL, X87_COM, X87_COMP, X87_SUB, X87_SUBR, X87_DIV, X87_DIVR }; /* as opcodes number them */
enum { /* X87_OP: one of the above, or the second byte of D9 E0 .. FF, or one of these */
    X87_FLD = 0x10, X87_FXCH, X87_FFREE, X87_FST, X87_FNOP, X87_COMPP, X87_WAIT, X87_FSTNCE,
};
#define X87_OP(how)   ((how) & 0xff)
#define X87_I(how)    ((how) >> 8 & 7)
#define X87_KIND(how) ((enum x87_kind)((how) >> 12 & 7))
#define X87_FOP(how)  ((how) >> 20 & 0x7ff)
#define X87_LEN(how)  ((how) >> 32 & 15)
#define X87_TO_STI    ((uint64_t)1 << 16)
#define X87_POP       ((uint64_t)1 << 17)
#define X87_QUIET     ((uint64_t)1 << 18)
#define X87_TRUNCATE  ((uint64_t)1 << 19)
/* Of environments: operand size 32; real-address format. */
#define X87_ENV32 ((uint64_t)1 << 16)
#define X87_REAL  ((uint64_t)1 << 17)

enum x86_xsave_kind { X86_XSAVE, X86_XSAVEOPT, X86_XSAVEC, X86_XSAVES };
