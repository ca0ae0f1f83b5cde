/* The arithmetic flags, computed when somebody asks (docs/x86-translator.md). */
#pragma once

#include "target/x86_64/tr.h"

/* How the last flag-writing instruction computed. r is its result, a and b its operands, of which the low
 * `size` bytes count:      cc_dst  cc_src            cc_aux */
enum x86_cc_kind {
    CC_FLAGS, /*            -       flags but CF      CF, 0 or 1 */
    CC_APART, /*            OF      flags but CF, OF  CF       numbers, 0 or 1 */
    CC_ADD,   /*            r       b                 - */
    CC_ADC,   /*            r       b                 carry in */
    CC_SUB,   /*            r       b                 -        a - b */
    CC_SBB,   /*            r       b                 borrow in */
    CC_CMP,   /*            a       b                 -        as SUB, without a result */
    CC_LOGIC, /*            r       -                 -        CF = OF = AF = 0 */
    CC_INC,   /*            r       -                 CF as it was */
    CC_DEC,   /*            r       -                 CF as it was */
    CC_SHL,   /*            r       a << (count - 1)  - */
    CC_SHR,   /*            r       a >> (count - 1)  -        SAR too */
    CC_MUL,   /*            r, low  r, high half      -        unsigned */
    CC_IMUL,  /*            r, low  r, high half      -        signed */
    CC_BMI,   /*            r       -                 CF       OF = 0 */
    CC_ORDER, /*            -       flags             -        of floats: 0, CF, ZF, or ZF, PF and CF */
    N_CC_KINDS
};
/* cc_op: kind and size in bytes (1, 2, 4, 8). Above that, what a later instruction changed of CF and OF alone, where
 * the kind's own flags do without cc_aux; AF, too, as it was:         cc_aux */
enum x86_cc_later {
    CC_NOTHING,
    CC_CARRY,       /* CF                                               CF, 0 or 1 */
    CC_LEFT,        /* ROL: four sizes                                  result */
    CC_RIGHT = 6,   /* ROR: four sizes                                  result */
};
enum { CC_LATER_SHIFT = 6 };
#define X86_CC(kind, size) ((unsigned)(kind) << 2 | (unsigned)__builtin_ctz(size))

enum {
    X86_ARITHMETIC = X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_OF
};

/* The six flags as RFLAGS has them (flags_value.c; pure). */
uint64_t x86_flags_value(uint64_t cc_op, uint64_t dst, uint64_t src, uint64_t aux);

/* ---- in IR (flags.c) ------------------------------------------------------------------------------- */
/* Around each instruction (translate.c): what is known of cc_op goes along. */
void cc_enter(struct tr *t);
/* Nothing in this unit has said yet what the flags are, but cc_op was t->guess - 1 when its code came up first. */
bool cc_can_guess(const struct tr *t);
void cc_leave(struct tr *t);
/* This instruction's flags; operands that the kind does not have are IR_NONE. After everything that may
 * fault. */
void cc_set(struct tr *t, enum x86_cc_kind kind, unsigned size, ir_val dst, ir_val src, ir_val aux);
/* All six from a value in RFLAGS' layout; other bits of it do not count. */
void cc_set_flags(struct tr *t, ir_val flags);
/* All but CF from a value in RFLAGS' layout, and CF from 0 or 1. */
void cc_set_flags_carry(struct tr *t, ir_val flags, ir_val carry);
/* All six in RFLAGS' layout, nothing else. */
ir_val cc_flags(struct tr *t);
/* The same for cc_set_flags_carry: CF and bits that are no flags may be anything. */
ir_val cc_flags_but_carry(struct tr *t);
/* CF, OF as numbers and what else there is, for those who change one of them; and as they are then. */
struct x86_apart {
    ir_val carry, overflow, rest;
};
struct x86_apart cc_apart(struct tr *t);
void cc_set_apart(struct tr *t, struct x86_apart f);
/* CF becomes 0 or 1, all else stays. */
void cc_set_carry(struct tr *t, ir_val carry);
/* CF and OF of a rotation without carry that gave r, all else stays. False: nothing was done, there is no short way. */
bool cc_set_rotated(struct tr *t, bool left, unsigned size, ir_val r);
/* CF, 0 or 1. */
ir_val cc_carry(struct tr *t);
/* The same for cc_set of CC_INC and CC_DEC alone, before anything else that the instruction does: IR_NONE if it is in
 * cc_aux already. */
ir_val cc_carry_to_keep(struct tr *t, bool faults);

/* A condition as instructions number them (SDM 1-B.1): something to compare. */
struct x86_cond {
    enum ir_cc cc;
    ir_val a, b;
};
struct x86_cond cc_cond(struct tr *t, unsigned code);
ir_val cc_cond_value(struct tr *t, unsigned code);
