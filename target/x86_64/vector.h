/* What the translate functions of vector instructions share: vector_operands.c. */
#pragma once

#include "target/x86_64/insns.h"

/* In a line's extra: a vector operation (enum ir_vec), how it is used, and a number. */
enum {
    VX_OP = 0x3ff,
    VX_UNALIGNED = 1 << 10, /* a 16-byte operand in memory need not be aligned */
    VX_SWAP = 1 << 11,      /* the operation's operands are the other way round */
    VX_PAIR = 1 << 15,      /* MMX: on both operands as one vector */
    VX_HIGH = 1 << 16,      /* MMX: the upper eight bytes of the result */
    VX_NUMBER_SHIFT = 20,   /* the translate function's own */
};
#define VX_NUMBER(n)      ((n) << VX_NUMBER_SHIFT)
#define VX_NUMBER_OF(i)   ((unsigned)(i)->extra >> VX_NUMBER_SHIFT)
#define VX_OP_OF(i)       ((enum ir_vec)((i)->extra & VX_OP))

/* A register or operand of 16 or 32 bytes; hi IR_NONE: 16. */
struct vx {
    ir_val lo, hi;
};

/* May the instruction run? Else it faults (#UD, #NM), and nothing more is to be built. */
bool vx_enabled(struct tr *t, const struct x86_insn *i);
bool mm_enabled(struct tr *t);

/* Operand n: what is narrower than 16 bytes in memory comes with zeros above; registers come whole, with their
 * upper half only if the operand has 32 bytes. `aligned`: #GP if memory of 16 or 32 bytes is not (SDM 2-2.4). */
struct vx vx_read(struct tr *t, const struct x86_insn *i, unsigned n, bool aligned);
/* As said by the line's extra and by VEX, which lifts the rule. */
struct vx vx_read_source(struct tr *t, const struct x86_insn *i, unsigned n);
/* Registers: without VEX the upper half stays, with VEX it becomes hi or zero. */
void vx_write(struct tr *t, const struct x86_insn *i, unsigned n, struct vx v, bool aligned);
ir_val vx_reg(struct tr *t, unsigned reg);
void vx_write_reg(struct tr *t, const struct x86_insn *i, unsigned reg, struct vx v);
/* A general register or integer memory operand: the i32 or i64 of its size. */
ir_val vx_int(struct tr *t, const struct x86_insn *i, unsigned n);
/* An i32 or i64 to operand n, zero-extended to its size. */
void vx_write_int(struct tr *t, const struct x86_insn *i, unsigned n, ir_val v);

/* MMX registers as V128 with zeros above. mm_read: operand n, register or memory. mm_done: nothing faults any
 * more, the x87's registers are MMX's from now on; mm_write does it. */
void mm_done(struct tr *t);
ir_val mm_read(struct tr *t, const struct x86_insn *i, unsigned n);
void mm_write(struct tr *t, const struct x86_insn *i, unsigned n, ir_val v);

/* Around operations with IR_VEC_FP where an exception is unmasked: #XM before anything was written. */
ir_val vx_float_begin(struct tr *t, enum ir_vec vec);
void vx_float_end(struct tr *t, ir_val begun);

/* The operation on 16 bytes, or on each half of 32: at once where the back end can. b's lower half is for both if it has
 * no other (the count of a shift). */
struct vx vx_each(struct tr *t, enum ir_vec vec, struct vx a, struct vx b, struct vx c, unsigned n);
/* 32 bytes as one value, for operations that give integers. */
ir_val vx_whole(struct tr *t, struct vx v);
#define VX_NONE ((struct vx){ IR_NONE, IR_NONE })

/* One operation; c and constant as the operation has them. */
static inline ir_val vx_op(struct tr *t, enum ir_vec vec, ir_val a, ir_val b)
{
    return ir_vec(t->ir, vec, a, b, IR_NONE, 0);
}
static inline ir_val vx_op1(struct tr *t, enum ir_vec vec, ir_val a)
{
    return ir_vec(t->ir, vec, a, IR_NONE, IR_NONE, 0);
}
static inline ir_val vx_op1n(struct tr *t, enum ir_vec vec, ir_val a, unsigned n)
{
    return ir_vec(t->ir, vec, a, IR_NONE, IR_NONE, n);
}
static inline ir_val vx_op2n(struct tr *t, enum ir_vec vec, ir_val a, ir_val b, unsigned n)
{
    return ir_vec(t->ir, vec, a, b, IR_NONE, n);
}
static inline ir_val vx_zero(struct tr *t)
{
    return ir_const(t->ir, IR_V128, 0);
}
static inline unsigned vx_imm(const struct x86_insn *i)
{
    return (uint8_t)i->imm;
}
/* Bytes 8 to 15, zeros above. */
static inline ir_val vx_high(struct tr *t, ir_val v)
{
    return vx_op1n(t, IR_V_shr_bytes, v, 8);
}

/* Both forms: legacy instructions overwrite their first operand, VEX ones have it apart. */
void tr_vx2(struct tr *t, const struct x86_insn *i);
void tr_vx1(struct tr *t, const struct x86_insn *i);
void tr_vx_move(struct tr *t, const struct x86_insn *i);    /* V,W or W,V */
void tr_vx_scalar(struct tr *t, const struct x86_insn *i);  /* MOVSS, MOVSD */
void tr_vx_low(struct tr *t, const struct x86_insn *i);     /* MOVLPS, MOVHPS: number 1 high */
void tr_vx_low_store(struct tr *t, const struct x86_insn *i);
void tr_vx_movhlps(struct tr *t, const struct x86_insn *i);
void tr_vx_movd(struct tr *t, const struct x86_insn *i);
void tr_vx_movd_store(struct tr *t, const struct x86_insn *i);
void tr_vx_movq(struct tr *t, const struct x86_insn *i);
void tr_vx_movq_store(struct tr *t, const struct x86_insn *i);
void tr_vx_dup(struct tr *t, const struct x86_insn *i);     /* MOVDDUP; number: MOVSHDUP's constant */
void tr_vx_to_gpr(struct tr *t, const struct x86_insn *i);  /* operation with an integer result */
void tr_vx_mask(struct tr *t, const struct x86_insn *i);    /* MOVMSKPS; number: lanes of 16 bytes */
void tr_vx_insert(struct tr *t, const struct x86_insn *i);  /* PINSRx; number: lanes */
void tr_vx_extract(struct tr *t, const struct x86_insn *i); /* PEXTRx; number: lanes */
void tr_vx_from_gpr(struct tr *t, const struct x86_insn *i); /* CVTSI2SD */
void tr_vx_order(struct tr *t, const struct x86_insn *i);   /* COMISD */
void tr_vx_test(struct tr *t, const struct x86_insn *i);    /* PTEST; number 1 VTESTPS, 2 VTESTPD */
void tr_vx_widen(struct tr *t, const struct x86_insn *i);   /* number: bytes of a source half */
void tr_vx_narrow(struct tr *t, const struct x86_insn *i);  /* each half of the source gives eight bytes */
void tr_vx_dot(struct tr *t, const struct x86_insn *i);     /* DPPS, DPPD */
void tr_vx_cmp(struct tr *t, const struct x86_insn *i);
void tr_vx_select(struct tr *t, const struct x86_insn *i);  /* PBLENDVB */
void tr_vx_string(struct tr *t, const struct x86_insn *i);  /* number: 1 explicit lengths, 2 mask */
void tr_vx_maskmov(struct tr *t, const struct x86_insn *i); /* MASKMOVDQU, MASKMOVQ */
void tr_vx_ldmxcsr(struct tr *t, const struct x86_insn *i);
void tr_vx_stmxcsr(struct tr *t, const struct x86_insn *i);
