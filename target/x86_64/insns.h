/* What the translate functions of x86 instructions share: operands.c, flags.c, translate.c. */
#pragma once

#include "core/util.h"
#include "target/x86_64/decode.h"
#include "target/x86_64/model.h"
#include "target/x86_64/tr.h"

/* ---- translate.c ----------------------------------------------------------------------------------- */
/* The decoder of this VM: made when first asked for. */
const struct x86_decoder *x86_decoder_of(struct vm *vm);

static inline bool is_code64(const struct tr *t)
{
    return t->flags & X86_TR_CODE64;
}
/* Raise in the middle: for conditions found in IR. `cond` not 0: #vector, before anything else is done.
 * Ends the block and begins another: values do not cross. */
void tr_fault_if(struct tr *t, enum ir_cc cc, ir_val a, ir_val b, unsigned vector);

/* ---- operands.c ------------------------------------------------------------------------------------- */
/* General registers. Values are i64. reg_read: the low `size` bytes count, what is above is not defined;
 * _zx and _sx extend them. reg_write: 4 bytes clear the upper half, 1 and 2 leave the rest. */
ir_val reg_read(struct tr *t, unsigned reg, unsigned size);
ir_val reg_read_zx(struct tr *t, unsigned reg, unsigned size);
ir_val reg_read_sx(struct tr *t, unsigned reg, unsigned size);
void reg_write(struct tr *t, unsigned reg, unsigned size, ir_val v);
/* The low `size` bytes of v, extended; 8: v. */
ir_val val_zx(struct tr *t, ir_val v, unsigned size);
ir_val val_sx(struct tr *t, ir_val v, unsigned size);

/* a op b for values of `size` bytes, which the result is zero-extended from if that is 4; else only its low bytes
 * count. code: what is computed from low bits upwards, or right shifts of extended values. */
ir_val val_2(struct tr *t, enum ir_code code, ir_val a, ir_val b, unsigned size);

/* Memory: a linear address as base + off, for ir_load and ir_store. */
struct x86_mem {
    ir_val base;
    int64_t off;
    uint8_t mode; /* X86_MMU_* */
};
/* The instruction's memory operand (SDM 1-3.7.5): `size` bytes that will be read, or written if `write`,
 * `off` bytes behind its address. Segment checks are done here. */
struct x86_mem mem_operand(struct tr *t, const struct x86_insn *i, unsigned size, bool write);
struct x86_mem mem_operand_at(struct tr *t, const struct x86_insn *i, int64_t off, unsigned size, bool write);
/* The effective address alone, zero-extended from the address size: LEA, strings. */
ir_val mem_effective(struct tr *t, const struct x86_insn *i);
/* Effective address (zero-extended to its size) to linear. */
struct x86_mem mem_linear(struct tr *t, unsigned seg, ir_val effective, unsigned size, bool write);
/* Loads and stores of 1, 2, 4 or 8 bytes with x86's order; loads zero-extend to i64. */
ir_val load_mem(struct tr *t, struct x86_mem m, unsigned size);
ir_val load_mem_sx(struct tr *t, struct x86_mem m, unsigned size);
void store_mem(struct tr *t, struct x86_mem m, unsigned size, ir_val v);
/* The address as one value. */
ir_val mem_address(struct tr *t, struct x86_mem m);
/* IR_8.. of a size in bytes, with what x86's order takes on this host (IR_ACQUIRE, IR_RELEASE), and
 * IR_ALIGNED where alignment is checked. */
static inline bool is_locked(const struct x86_insn *i)
{
    return i->prefixes & X86_PFX_LOCK;
}
unsigned shape_load(const struct tr *t, unsigned size);
unsigned shape_store(const struct tr *t, unsigned size);

/* Operand n as a value: zero-extended, sign-extended, or with undefined upper bits. */
ir_val op_read(struct tr *t, const struct x86_insn *i, unsigned n);
ir_val op_read_zx(struct tr *t, const struct x86_insn *i, unsigned n);
ir_val op_read_sx(struct tr *t, const struct x86_insn *i, unsigned n);
void op_write(struct tr *t, const struct x86_insn *i, unsigned n, ir_val v);
/* Read-modify-write: op_open reads operand n and remembers where it is (the address is computed once and
 * checked for writing); op_close writes it. */
struct x86_place {
    struct x86_mem mem;
    ir_val v;
};
struct x86_place op_open(struct tr *t, const struct x86_insn *i, unsigned n);
void op_close(struct tr *t, const struct x86_insn *i, unsigned n, const struct x86_place *p, ir_val v);

/* The stack: its address size is the stack segment's. push_value stores first, then moves rSP. */
unsigned stack_size(const struct tr *t); /* bytes of rSP that count: 2, 4, 8 */
/* `by` bytes from rSP. */
struct x86_mem stack_at(struct tr *t, int by, unsigned size, bool write);
void push_value(struct tr *t, unsigned size, ir_val v);
/* The value on top, zero-extended; rSP stays. pop_done moves it. */
ir_val pop_value(struct tr *t, unsigned size);
void pop_done(struct tr *t, unsigned size);

/* ---- control flow (insns_jump.c) ----------------------------------------------------------------------- */
/* RIP of an address relative to the unit's page, as a value of `size` bytes. */
ir_val rip_value(struct tr *t, int32_t off, unsigned size);
/* The linear address to jump to for RIP `to` (zero-extended from its size); #GP beyond the segment's limit. */
ir_val near_target(struct tr *t, ir_val to);

/* Of an instruction under X86_TR_WAIT: it may stand where ENDBR must (insns_cet.c). */
bool x86_ends_waiting(const struct x86_insn *i);

/* ---- strings (insns_string.c) ---------------------------------------------------------------------------- */
/* A string instruction with a repeat prefix: it may come back to itself. */
bool x86_repeats(const struct x86_insn *i);
/* rSI or rDI moves on by `size` bytes, as DF says. */
void string_advance(struct tr *t, const struct x86_insn *i, unsigned reg, unsigned size);

static inline unsigned log2_size(unsigned size)
{
    return (unsigned)__builtin_ctz(size);
}
