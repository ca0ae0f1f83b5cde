/* The rules of the IR. */
#include "core/error.h"
#include "core/util.h"
#include "tcg/ir.h"

#include <stdio.h>

/* Types an operation may have, and those of its operands. Types: i i32, l i64, f f32, d f64, w v128, x v256, v none.
 * Operands also: s as the op, n the integer that itof converts, b the integer of the float's width. */
static const struct {
    const char *types, *operands;
} rules[N_IR_OPS] = {
    [IR_const] = { "ilfdwx", "" },
    [IR_get] = { "ilfdw", "" },
    [IR_set] = { "ilfdw", "s" },
    [IR_forget] = { "ilfdw", "" },
    [IR_pc] = { "l", "" },
    [IR_add] = { "il", "ss" },
    [IR_sub] = { "il", "ss" },
    [IR_mul] = { "il", "ss" },
    [IR_mulhu] = { "il", "ss" },
    [IR_mulhs] = { "il", "ss" },
    [IR_mulhsu] = { "il", "ss" },
    [IR_divu] = { "il", "ss" },
    [IR_divs] = { "il", "ss" },
    [IR_remu] = { "il", "ss" },
    [IR_rems] = { "il", "ss" },
    [IR_and] = { "il", "ss" },
    [IR_or] = { "il", "ss" },
    [IR_xor] = { "il", "ss" },
    [IR_andn] = { "il", "ss" },
    [IR_shl] = { "il", "ss" },
    [IR_shr] = { "il", "ss" },
    [IR_sar] = { "il", "ss" },
    [IR_rol] = { "il", "ss" },
    [IR_ror] = { "il", "ss" },
    [IR_clz] = { "il", "s" },
    [IR_ctz] = { "il", "s" },
    [IR_popcnt] = { "il", "s" },
    [IR_bswap] = { "il", "s" },
    [IR_sext8] = { "il", "s" },
    [IR_sext16] = { "il", "s" },
    [IR_zext8] = { "il", "s" },
    [IR_zext16] = { "il", "s" },
    [IR_sext32] = { "i", "s" },
    [IR_zext32] = { "i", "s" },
    [IR_trunc] = { "l", "s" },
    [IR_setc] = { "il", "ss" },
    [IR_select] = { "ilfdwx", "lss" },
    [IR_addc] = { "il", "ssl" },
    [IR_carry] = { "il", "ssl" },
    [IR_load] = { "ilfdwx", "l" },
    [IR_store] = { "ilfdwx", "ls" },
    [IR_rmw] = { "il", "ls" },
    [IR_fflags] = { "l", "" },
    [IR_set_fflags] = { "l", "s" },
    [IR_cas] = { "il", "lss" },
    [IR_fence] = { "v", "" },
    [IR_fadd] = { "fd", "ss" },
    [IR_fsub] = { "fd", "ss" },
    [IR_fmul] = { "fd", "ss" },
    [IR_fdiv] = { "fd", "ss" },
    [IR_fsqrt] = { "fd", "s" },
    [IR_fma] = { "fd", "sss" },
    [IR_fcmp] = { "fd", "ss" },
    [IR_ftoi] = { "fd", "s" },
    [IR_itof] = { "fd", "n" },
    [IR_fwiden] = { "f", "s" },
    [IR_fnarrow] = { "d", "s" },
    [IR_fneg] = { "fd", "s" },
    [IR_fabs] = { "fd", "s" },
    [IR_fbits] = { "fd", "s" },
    [IR_bitsf] = { "fd", "b" },
    [IR_fbox] = { "f", "s" },
    [IR_funbox] = { "d", "s" },
    [IR_call] = { "l", "" },
    [IR_jump] = { "v", "" },
    [IR_branch] = { "il", "ss" },
    [IR_jumpi] = { "v", "l" },
    [IR_leave] = { "v", "" },
    [IR_vec] = { "ilfdwx", "" },
    [IR_copy] = { "l", "lll" },
    [IR_fill] = { "l", "lll" },
    [IR_word] = { "l", "" },
    [IR_set_word] = { "l", "s" },
    [IR_load_w] = { "ilfdwx", "ll" },
    [IR_store_w] = { "ilfdwx", "lsl" },
    [IR_join] = { "w", "ss" },
    [IR_low] = { "x", "s" },
    [IR_high] = { "x", "s" },
    [IR_window] = { "l", "ss" },
};

static const char type_letters[] = {
    [IR_VOID] = 'v', [IR_I32] = 'i',  [IR_I64] = 'l', [IR_F32] = 'f',
    [IR_F64] = 'd',  [IR_V128] = 'w', [IR_V256] = 'x'
};

struct check {
    const struct ir *ir;
    const struct ir_block *block;
    uint16_t i;
    const char *what; /* the first broken rule */
};

static bool rule(struct check *c, bool holds, const char *what)
{
    if (!holds && !c->what)
        c->what = what;
    return holds;
}

static enum ir_type operand_type(const struct ir_op *op, char letter)
{
    switch (letter) {
    case 's': return op->type;
    case 'i': return IR_I32;
    case 'l': return IR_I64;
    case 'n': return op->x & IR_ITOF_32 ? IR_I32 : IR_I64;
    case 'b': return op->type == IR_F32 ? IR_I32 : IR_I64;
    default: return IR_VOID;
    }
}

static void check_operand(struct check *c, ir_val v, enum ir_type type)
{
    if (rule(c, v != IR_NONE, "an operand is missing") &&
        rule(c, v >= c->block->first && v < c->i,
             "an operand is not defined before in its block") &&
        rule(c, ir_type_of(c->ir, v) != IR_VOID, "an operand has no value"))
        rule(c, ir_type_of(c->ir, v) == type, "an operand has the wrong type");
}

static void check_call(struct check *c, const struct ir_op *op)
{
    const struct ir_helper *h = (const struct ir_helper *)(intptr_t)op->imm;
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    if (!rule(c, h != NULL, "a call without helper") ||
        !rule(c, op->x == h->n_args && op->x <= 4, "the number of operands is not the helper's"))
        return;
    for (unsigned k = 0; k < 4; k++) {
        if (k < op->x)
            check_operand(c, v[k], IR_I64);
        else
            rule(c, v[k] == IR_NONE, "more operands than the helper takes");
    }
}

/* The first operation of the chain that the block is in. */
static uint16_t chain_first(const struct check *c)
{
    const struct ir_block *b = c->block;
    while (b->follows)
        b--;
    return b->first;
}

static bool is_chained(const struct check *c)
{
    return c->block->follows ||
           (c->block + 1 < c->ir->blocks + c->ir->n_blocks && c->block[1].follows);
}

/* The leader is an access of the same base, and its span covers this one. In a chain it may have another name
 * for it. */
static void check_leader(struct check *c, const struct ir_op *op)
{
    if (op->d == IR_NONE)
        return;
    if (!rule(c, op->d >= chain_first(c) && op->d <= c->i, "a leader comes later or elsewhere"))
        return;
    const struct ir_op *leader = &c->ir->ops[op->d];
    int64_t lo = op->imm - leader->imm, hi = lo + ir_access_bytes(op->shape);
    rule(c, leader->code == IR_load || leader->code == IR_store, "a leader is no access");
    rule(c, leader->d == op->d, "a leader does not lead itself");
    bool same = leader->a == op->a;
    rule(c, same || is_chained(c), "a leader has another base");
    rule(c, !((leader->x ^ op->x) & IR_MODE_MASK), "a leader has another mode");
    rule(c, !same || (lo >= IR_SPAN_LO(leader->imm2) && hi <= IR_SPAN_HI(leader->imm2)),
         "a leader's span does not cover an access");
    rule(c, op->code == IR_load || leader->x & IR_SPAN_WRITES,
         "a leader does not check for writes");
    rule(c,
         !(op->shape & (IR_ACQUIRE | IR_RELEASE)) &&
             (!(op->shape & IR_ALIGNED) || op->type >= IR_V128),
         "a special access in a group");
}

static void check_memory(struct check *c, const struct ir_op *op)
{
    static const uint8_t most[] = { [IR_I32] = IR_32, [IR_I64] = IR_64,   [IR_F32] = IR_32,
                                    [IR_F64] = IR_64, [IR_V128] = IR_128, [IR_V256] = IR_256 };
    unsigned size = op->shape & IR_SIZE_MASK;
    rule(c, size <= most[op->type], "an access is wider than its type");
    if (op->type == IR_F32 || op->type == IR_F64 || op->type == IR_V256)
        rule(c, size == most[op->type], "an access is narrower than its value");
    if (op->type == IR_V128)
        rule(c, size >= IR_32, "an access is too narrow for a vector");
    rule(c, !(op->shape & IR_PAIR) || size == IR_128, "a pair of anything but 128 bits");
    if (op->code != IR_rmw && op->code != IR_cas) {
        rule(c, op->imm > -IR_OFFSET_LIMIT && op->imm < IR_OFFSET_LIMIT,
             "an offset is out of range");
        if (op->code == IR_load || op->code == IR_store)
            check_leader(c, op);
    } else {
        rule(c, op->imm == 0, "an atomic or repeated access has an offset");
    }
    if (op->code == IR_rmw)
        rule(c, op->cc < N_IR_RMW, "no such kind of rmw");
}

static void check_vec(struct check *c, const struct ir_op *op)
{
    const ir_val v[3] = { op->a, op->b, op->c };
    if (!rule(c, op->vec < N_IR_VECS, "no such vector operation"))
        return;
    const struct ir_vec_info *info = &ir_vec_infos[op->vec];
    if (!rule(c, op->a != IR_NONE && op->a < c->i, "an operand is missing"))
        return;
    bool wide = ir_vec_is_wide(c->ir, op);
    rule(c, op->type == ir_vec_type(info->types[0], wide), "a vector operation has another type");
    rule(c, op->imm >= 0 && op->imm < (info->flags & IR_VEC_IMM ? 256 : 1),
         "a vector operation's constant is out of range");
    for (unsigned k = 0; k < 3; k++) {
        if (k < info->n_values)
            check_operand(c, v[k], ir_vec_type(info->types[1 + k], wide));
        else
            rule(c, v[k] == IR_NONE, "more operands than the vector operation takes");
    }
}

static void check_target(struct check *c, ir_val block)
{
    if (block != IR_NONE)
        rule(c, block < c->ir->n_blocks && c->ir->blocks[block].n, "no such block");
}

static void check_op(struct check *c)
{
    const struct ir *ir = c->ir;
    const struct ir_op *op = &ir->ops[c->i];
    bool last = c->i + 1 == c->block->first + c->block->n;
    if (!rule(c, op->code < N_IR_OPS, "no such operation") ||
        !rule(c, op->type <= IR_V256 && strchr(rules[op->code].types, type_letters[op->type]),
              "the operation has no such type") ||
        !rule(c, last == !!(ir_op_infos[op->code].flags & IR_END),
              "a block has its end elsewhere than at its end"))
        return;
    const char *letters = rules[op->code].operands;
    const ir_val v[3] = { op->a, op->b, op->c };
    for (unsigned k = 0; letters[k]; k++)
        check_operand(c, v[k], operand_type(op, letters[k]));
    switch (op->code) {
    case IR_const:
        rule(c, op->type != IR_I32 || op->imm == (int32_t)op->imm, "an i32 constant is too large");
        break;
    case IR_get:
    case IR_set:
    case IR_forget:
        if (rule(c, op->imm >= 0 && op->imm < ir->n_slots, "no such slot"))
            rule(c, ir->slots[op->imm].type == op->type, "a slot has another type");
        break;
    case IR_word:
    case IR_set_word: rule(c, op->imm >= 0 && op->imm < N_IR_WORDS, "no such word"); break;
    case IR_window: rule(c, ir_window_of(op->imm).n < IR_WINDOWS, "no such window"); break;
    case IR_setc: rule(c, op->cc <= IR_GTU, "not an integer condition"); break;
    case IR_fcmp: rule(c, op->cc >= IR_FEQ && op->cc < N_IR_CC, "not a float condition"); break;
    case IR_vec: check_vec(c, op); break;
    case IR_load:
    case IR_store:
    case IR_load_w:
    case IR_store_w:
    case IR_rmw:
    case IR_cas:
    case IR_copy:
    case IR_fill: check_memory(c, op); break;
    case IR_call: check_call(c, op); break;
    case IR_jump:
    case IR_jumpi: check_target(c, op->c); break;
    case IR_branch:
        rule(c, op->cc <= IR_GTU, "not an integer condition");
        check_target(c, op->c);
        check_target(c, op->d);
        break;
    }
}

struct error *ir_verify(const struct ir *ir)
{
    struct check c = { .ir = ir };
    if (ir->overflow)
        return error_new("the unit ran out of room");
    if (ir->n_blocks && !ir->ended)
        return error_new("block b%u has no end", ir->block);
    for (uint16_t n = 0; n < ir->n_blocks; n++) {
        c.block = &ir->blocks[n];
        if (c.block->first + c.block->n > ir->n_ops)
            return error_new("block b%u goes beyond the unit", n);
        for (c.i = c.block->first; c.i < c.block->first + c.block->n && !c.what; c.i++)
            check_op(&c);
        if (c.what)
            return error_new("block b%u, %s v%u: %s", n, ir_op_infos[ir->ops[c.i - 1].code].name,
                             c.i - 1u, c.what);
    }
    for (uint16_t k = 0; k < ir->n_insns; k++)
        if (ir->insns[k].block >= ir->n_blocks || (k && ir->insns[k].op < ir->insns[k - 1].op))
            return error_new("guest instruction %u is out of place", k);
    return NULL;
}
